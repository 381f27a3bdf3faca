/**
 * One file on its way from a board, as its row and its part on disk have it.
 *
 *   receiving ──► complete    all bytes are there and have the hash
 *       │  ▲
 *       └──┴── failed         they had not: it begins anew
 *
 * A chunk is on disk before `received` moves past it, and that by compare-and-set: any agent can take
 * the next chunk, and one that died in between has moved nothing.
 */
import type { ArtifactStore } from '../../common/artifacts/store.ts';
import type { Database } from '../../common/db/database.ts';
import {
  type ArtifactKey,
  type ArtifactStanding,
  countArtifacts,
  countRecentBytes,
  findArtifact,
  findNeededFiles,
  insertArtifact,
  isFileOfTenant,
  moveArtifact,
} from '../../common/db/queries/artifacts.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { timeUuid } from '../../common/runtime/time-uuid.ts';
import type { ArtifactAnswer, ArtifactReport } from '../../common/wamp/artifacts.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import type { Metrics } from '../metrics.ts';
import { createTurns } from './turns.ts';

export interface UploadOptions {
  database: Database;
  store: ArtifactStore;
  /** Days until a file expires. */
  keptDays: number;
  metrics: Pick<Metrics, 'artifactBytes' | 'artifacts'>;
}

export interface Uploads {
  /** What is known of the file; undefined = nothing of one with these bytes. */
  find(key: ArtifactKey, artifact: ArtifactReport): Promise<ArtifactStanding | undefined>;
  /** Makes the row. Bytes that the tenant has already need not be sent again. */
  begin(tenantId: string, key: ArtifactKey, artifact: ArtifactReport): Promise<void>;
  /** Takes the bytes if they are the next ones, and says where to go on. */
  advance(
    key: ArtifactKey,
    standing: ArtifactStanding,
    offset: number,
    bytes: Buffer,
  ): Promise<ArtifactAnswer>;
}

/** Reading 50 MB again takes a while. */
const finishing = { atOnce: 2, waiting: 32 } as const;
/** A file whose bytes never have its hash changes under the board's hands. */
const wrongHashes = { most: 3, remembered: 1000 } as const;

const dayMs = 86_400_000;

const isSame = (left: ArtifactReport, right: ArtifactReport) =>
  left.sha256 === right.sha256 && left.size === right.size && left.mediaType === right.mediaType;

export function createUploads({ database, store, keptDays, metrics }: UploadOptions): Uploads {
  const finish = createTurns(finishing);
  const wrong = new Map<string, number>();

  const read = (key: ArtifactKey) => database.read((manager) => findArtifact(manager, key));
  const move = (from: ArtifactStanding, to: Parameters<typeof moveArtifact>[2]) =>
    database.read((manager) => moveArtifact(manager, from, to));

  async function find(key: ArtifactKey, artifact: ArtifactReport): Promise<ArtifactStanding | undefined> {
    const known = await read(key);
    if (!known || !isSame(known, artifact)) return undefined;
    if (known.state !== 'complete' || (await store.has(known))) return known;
    // Its file is gone: it begins anew.
    return undefined;
  }

  async function begin(tenantId: string, key: ArtifactKey, artifact: ArtifactReport): Promise<void> {
    const known = await read(key);
    await refuseMuch(tenantId, key, artifact.size - (known?.size ?? 0));
    if (!known) {
      await refuseMany(key);
      const row = { ...key, ...artifact, id: timeUuid(), tenantId, keptDays };
      await database.read((manager) => insertArtifact(manager, row));
    }
    const standing = known ?? (await read(key));
    if (!standing) return;
    const { mediaType, size, sha256 } = artifact;
    const isHere =
      (await store.has(artifact)) &&
      (await database.read((manager) => isFileOfTenant(manager, tenantId, sha256)));
    const received = isHere ? size : 0;
    const moved = await move(standing, { received, state: 'receiving', mediaType, size, sha256 });
    // The file that the row had before: of an earlier run of the attempt.
    if (moved && standing.state === 'complete' && standing.sha256 !== sha256)
      await store.removeArtifact(standing.sha256, async () =>
        (await database.read((manager) => findNeededFiles(manager, [standing.sha256]))).has(standing.sha256),
      );
  }

  /** One board must not fill the disk that all share. The file is left out, and its outcome says so. */
  async function refuseMuch(tenantId: string, { boardUuid }: ArtifactKey, bytes: number): Promise<void> {
    const since = timeUuid(Date.now() - dayMs);
    const recent = await database.read((manager) =>
      countRecentBytes(manager, { tenantId, boardUuid, since }),
    );
    const most = operationLimits.artifactBytesPerDay;
    if (bytes > 0 && recent + bytes > most)
      throw new AppError('quota-exceeded', `a board sends at most ${most} bytes of files in 24 hours`);
  }

  async function refuseMany(key: ArtifactKey): Promise<void> {
    const most = operationLimits.artifactsPerOperation;
    if ((await database.read((manager) => countArtifacts(manager, key))) >= most)
      throw new AppError('quota-exceeded', `an operation has at most ${most} artifacts`);
  }

  async function advance(
    key: ArtifactKey,
    standing: ArtifactStanding,
    offset: number,
    bytes: Buffer,
  ): Promise<ArtifactAnswer> {
    const { received, size } = standing;
    if (standing.state === 'complete') return { received, complete: true };
    if (received === size) return finish(() => complete(key, standing));
    if (bytes.length === 0 || offset !== received) return { received, complete: false };
    const after = offset + bytes.length;
    if (after > size)
      throw new AppError(
        'invalid-arguments',
        `data must have at most ${size - offset} bytes: no more are left`,
        {
          details: { field: 'data' },
        },
      );
    // Without the bytes before it (a lost disk) it begins anew.
    const isWritten = await store.writePart(standing.id, offset, bytes);
    const to = { received: isWritten ? after : 0, state: 'receiving' } as const;
    if (!(await move(standing, to))) return where(key);
    if (isWritten) metrics.artifactBytes.inc(bytes.length);
    if (to.received < size) return { received: to.received, complete: false };
    return finish(() => complete(key, { ...standing, ...to }));
  }

  async function complete(key: ArtifactKey, standing: ArtifactStanding): Promise<ArtifactAnswer> {
    const { id, size: received } = standing;
    if (!(await store.finishPart(id, standing))) return restart(key, standing);
    if (!(await move(standing, { received, state: 'complete' }))) return where(key);
    // The file may have gone with the last row that needed it, in the moment before this one did.
    if (!(await store.has(standing))) {
      await move({ ...standing, state: 'complete' }, { received, state: 'receiving' });
      return { received, complete: false };
    }
    await store.removePart(id);
    wrong.delete(id);
    metrics.artifacts.inc({ outcome: 'complete' });
    return { received, complete: true };
  }

  async function restart(key: ArtifactKey, standing: ArtifactStanding): Promise<ArtifactAnswer> {
    await store.removePart(standing.id);
    if (!(await move(standing, { received: 0, state: 'failed' }))) return where(key);
    metrics.artifacts.inc({ outcome: 'wrong-hash' });
    const times = (wrong.get(standing.id) ?? 0) + 1;
    wrong.delete(standing.id);
    wrong.set(standing.id, times);
    if (wrong.size > wrongHashes.remembered) wrong.delete(wrong.keys().next().value ?? '');
    if (times >= wrongHashes.most)
      throw new AppError('conflict', 'the bytes of the file do not have the hash that was announced');
    return { received: 0, complete: false };
  }

  /** Somebody else moved it: another agent that was asked the same. */
  async function where(key: ArtifactKey): Promise<ArtifactAnswer> {
    const standing = await read(key);
    return { received: standing?.received ?? 0, complete: standing?.state === 'complete' };
  }

  return { find, begin, advance };
}
