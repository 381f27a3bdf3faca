/** Files of operations on their way into the store, with agents, router and database as they are. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { removeExpiredArtifacts, removeOrphans, sweepParts } from '../../../common/artifacts/retention.ts';
import { createArtifactStore } from '../../../common/artifacts/store.ts';
import { createDatabase } from '../../../common/db/database.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import type { ArtifactAnswer, ArtifactReport } from '../../../common/wamp/artifacts.ts';
import { scheduledOperationId } from '../../../common/wamp/board-schedules.ts';
import { agentUris } from '../../../common/wamp/uris.ts';
import { until } from '../../harness/until.ts';
import { type Fixture, type SeededBoard, seedBoard, seedTenant, startFixture } from './fixture.ts';
import { goOnline, journalEpoch, operationOf, seedOperation, targetOf } from './operation-rows.ts';
import type { RawSession, WampError } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;
let board: SeededBoard;
let session: RawSession;

beforeAll(async () => {
  fixture = await startFixture(2);
  tenantId = await seedTenant(fixture);
  board = await seedBoard(fixture, tenantId);
  session = await goOnline(fixture, board);
});
afterAll(async () => {
  await session?.leave();
  await fixture?.stop();
});

const chunkBytes = 131_072;

interface File {
  operationId: string;
  bytes: Buffer;
  artifact: ArtifactReport;
  from?: RawSession;
}

function fileOf(operationId: string, bytes: Buffer, name = 'log.bin'): File {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return {
    operationId,
    bytes,
    artifact: { name, mediaType: 'application/octet-stream', size: bytes.length, sha256 },
  };
}

const call = ({ operationId, artifact, from = session }: File, more: object) =>
  from.call(agentUris.putArtifact, { operationId, attempt: 1, artifact, ...more }) as Promise<ArtifactAnswer>;
const ask = (file: File) => call(file, { offset: 0 });
const chunk = (file: File, offset: number, bytes = chunkBytes) =>
  call(file, { offset, data: file.bytes.toString('base64', offset, offset + bytes) });

/** As a board does: from where the server is, to the end. */
async function upload(file: File, onAnswer?: (answer: ArtifactAnswer) => Promise<void>): Promise<number> {
  let answer = await ask(file);
  let chunks = 0;
  while (!answer.complete) {
    answer = await chunk(file, answer.received);
    chunks += 1;
    await onAnswer?.(answer);
  }
  return chunks;
}

const pathOf = ({ artifact: { sha256 } }: File) => join(fixture.artifactDir, sha256.slice(0, 2), sha256);
const stored = (file: File) => readFile(pathOf(file));
const partsLeft = () => readdir(join(fixture.artifactDir, 'parts'));

async function rowOf({ operationId, artifact }: File) {
  const [row] = await fixture.rows('SELECT * FROM artifacts WHERE operation_id = ? AND name = ?', [
    operationId,
    artifact.name,
  ]);
  return row;
}

describe('a file', () => {
  it('comes in chunks through whichever agent, and is complete with its hash', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), randomBytes(500_000));
    expect(await ask(file)).toEqual({ received: 0, complete: false });
    expect(await upload(file)).toBe(4);
    expect(await stored(file)).toEqual(file.bytes);
    expect(await rowOf(file)).toMatchObject({ state: 'complete', received: 500_000, tenant_id: tenantId });
    const kept = (await rowOf(file))?.expires_at.getTime() - Date.now();
    expect(kept / 86_400_000).toBeCloseTo(30, 1);
    expect(await partsLeft()).toEqual([]);
    expect(await ask(file)).toEqual({ received: 500_000, complete: true });
  });

  it('is taken in order: any other chunk is answered with where it is', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), randomBytes(300_000));
    expect(await chunk(file, chunkBytes)).toEqual({ received: 0, complete: false });
    expect(await chunk(file, 0)).toEqual({ received: chunkBytes, complete: false });
    expect(await chunk(file, 0)).toEqual({ received: chunkBytes, complete: false });
    expect(await ask(file)).toEqual({ received: chunkBytes, complete: false });
    await expect(
      call(file, { offset: chunkBytes, data: randomBytes(131_073).toString('base64') }),
    ).rejects.toThrow();
    await expect(
      call(file, { offset: chunkBytes, data: randomBytes(131_072).toString('base64') }).then(() =>
        call(file, { offset: 2 * chunkBytes, data: randomBytes(131_072).toString('base64') }),
      ),
    ).rejects.toMatchObject({ uri: 'wamp.error.invalid_argument' });
  });

  it('may be empty', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), Buffer.alloc(0));
    expect(await ask(file)).toEqual({ received: 0, complete: true });
    expect(await stored(file)).toEqual(Buffer.alloc(0));
  });

  it('of another tenant is not had by whoever knows its hash and size alone', async () => {
    const theirs = fileOf(await seedOperation(fixture, [board]), randomBytes(1000));
    await upload(theirs);
    const stranger = await seedBoard(fixture, await seedTenant(fixture));
    const from = await goOnline(fixture, stranger);
    const claim = { ...theirs, operationId: await seedOperation(fixture, [stranger]), from };
    await ask(claim);
    const answer = await call(claim, { offset: 0, data: randomBytes(1000).toString('base64') });
    expect(answer).toEqual({ received: 0, complete: false });
    expect(await rowOf(claim)).toMatchObject({ state: 'failed' });
    expect(await stored(theirs)).toEqual(theirs.bytes);
    await upload(claim);
    expect(await rowOf(claim)).toMatchObject({ state: 'complete' });
    await from.leave();
  });

  it('of a board that has sent very much in a day is refused, and those of others are not', async () => {
    const heavy = await seedBoard(fixture, tenantId);
    const from = await goOnline(fixture, heavy);
    const seed = async (at: number) => {
      const operationId = await seedOperation(fixture, [heavy]);
      await fixture.sql.query(
        `INSERT INTO artifacts (id, tenant_id, board_uuid, operation_id, attempt, name, media_type, size, sha256, state,
           created_at, updated_at, expires_at) VALUES (?, ?, ?, ?, 1, 'x', 'a/b', ?, ?, 'complete', NOW(3), NOW(3),
           NOW(3) + INTERVAL 1 DAY)`,
        [timeUuid(at), tenantId, heavy.uuid, operationId, 3 * 1024 ** 3, 'a'.repeat(64)],
      );
    };
    await seed(Date.now() - 25 * 3_600_000);
    await seed(Date.now() - 3_600_000);
    const file = async () => ({ ...fileOf(await seedOperation(fixture, [heavy]), randomBytes(10)), from });
    await upload(await file());
    await seed(Date.now() - 1000);
    await expect(ask(await file())).rejects.toMatchObject({ uri: 'boardwalk.error.quota_exceeded' });
    await upload(fileOf(await seedOperation(fixture, [board]), randomBytes(10)));
    await from.leave();
  });

  it('is another one when its name differs in case or accents only', async () => {
    const operationId = await seedOperation(fixture, [board]);
    const files = ['log', 'LOG', 'lóg'].map((name) => fileOf(operationId, randomBytes(100), name));
    for (const each of files) await upload(each);
    for (const each of files) expect(await rowOf(each)).toMatchObject({ name: each.artifact.name });
    const reports = [
      { operationId, attempt: 1, state: 'succeeded', artifacts: files.map(({ artifact }) => artifact) },
    ];
    const answer = await session.call(agentUris.operationResult, { journalEpoch, reports });
    expect(answer).toEqual({ acknowledged: [operationId] });
  });

  it('that its tenant has already need not be sent; another tenant must bring the bytes', async () => {
    const first = fileOf(await seedOperation(fixture, [board]), randomBytes(200_000));
    await upload(first);
    const second = fileOf(await seedOperation(fixture, [board]), first.bytes, 'same.bin');
    expect(await ask(second)).toEqual({ received: 200_000, complete: true });
    const stranger = await seedBoard(fixture, await seedTenant(fixture));
    const from = await goOnline(fixture, stranger);
    const third = { ...fileOf(await seedOperation(fixture, [stranger]), first.bytes), from };
    expect(await ask(third)).toEqual({ received: 0, complete: false });
    expect(await upload(third)).toBe(2);
    await from.leave();
  });

  it('whose bytes are not what was announced begins anew, and is given up after a few times', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), randomBytes(150_000));
    const wrong = { ...file, bytes: randomBytes(150_000) };
    expect(await chunk(wrong, 0)).toMatchObject({ received: chunkBytes });
    expect(await chunk(wrong, chunkBytes)).toEqual({ received: 0, complete: false });
    expect(await rowOf(file)).toMatchObject({ state: 'failed', received: 0 });
    await upload(file);
    expect(await stored(file)).toEqual(file.bytes);
    const never = fileOf(await seedOperation(fixture, [board]), randomBytes(10), 'never.bin');
    const lying = { ...never, bytes: randomBytes(10) };
    let fault: WampError | undefined;
    for (let count = 0; count < 8 && !fault; count += 1)
      await chunk(lying, 0).catch((error: WampError) => {
        fault = error;
      });
    expect(fault?.uri).toBe('boardwalk.error.conflict');
  });

  it('of a repeated run takes the place of the one before', async () => {
    const operationId = await seedOperation(fixture, [board]);
    const before = fileOf(operationId, randomBytes(140_000));
    await upload(before);
    const half = fileOf(operationId, randomBytes(300_000));
    await chunk(half, 0);
    const after = fileOf(operationId, randomBytes(135_000));
    await upload(after);
    expect(await stored(after)).toEqual(after.bytes);
    await expect(stored(before)).rejects.toThrow('ENOENT');
    expect(await fixture.rows('SELECT 1 FROM artifacts WHERE operation_id = ?', [operationId])).toHaveLength(
      1,
    );
  });

  it('begins anew when the disk with its part was lost', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), randomBytes(300_000));
    await chunk(file, 0);
    await rm(join(fixture.artifactDir, 'parts', (await rowOf(file))?.id));
    expect(await chunk(file, chunkBytes)).toEqual({ received: 0, complete: false });
    await upload(file);
    expect(await stored(file)).toEqual(file.bytes);
  });
});

describe('a chunk is refused', () => {
  it('for operations that the board has not, and for attempts that are over', async () => {
    const other = await seedBoard(fixture, tenantId);
    const bytes = randomBytes(10);
    for (const operationId of [randomUUID(), await seedOperation(fixture, [other])])
      await expect(ask(fileOf(operationId, bytes))).rejects.toMatchObject({
        uri: 'boardwalk.error.not_found',
      });
    for (const seed of [{ state: 'cancelled' }, { attempt: 2 }])
      await expect(ask(fileOf(await seedOperation(fixture, [board], seed), bytes))).rejects.toMatchObject({
        uri: 'boardwalk.error.operation_ended',
      });
    await upload(fileOf(await seedOperation(fixture, [board], { state: 'unknown' }), bytes));
  });

  it('for the eleventh file of an operation, and for one that is too large', async () => {
    const operationId = await seedOperation(fixture, [board]);
    for (let number = 1; number <= 10; number += 1)
      await upload(fileOf(operationId, randomBytes(5), `file-${number}`));
    await expect(ask(fileOf(operationId, randomBytes(5), 'file-11'))).rejects.toMatchObject({
      uri: 'boardwalk.error.quota_exceeded',
    });
    const file = fileOf(operationId, randomBytes(5));
    await expect(
      ask({ ...file, artifact: { ...file.artifact, size: 50 * 1024 * 1024 + 1 } }),
    ).rejects.toMatchObject({ uri: 'wamp.error.invalid_argument' });
  });

  it('for later when the store cannot be written, and nothing is lost', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), randomBytes(300_000));
    await chunk(file, 0);
    const part = join(fixture.artifactDir, 'parts', (await rowOf(file))?.id);
    // A folder in the place of the part: no right to write would not stop root.
    const kept = await readFile(part);
    await rm(part);
    await mkdir(part);
    await expect(chunk(file, chunkBytes)).rejects.toMatchObject({
      uri: 'boardwalk.error.unavailable',
      kwargs: { retryAfterMs: expect.any(Number) },
    });
    await rm(part, { recursive: true });
    await writeFile(part, kept);
    await chmod(part, 0o640);
    expect(await chunk(file, chunkBytes)).toEqual({ received: 2 * chunkBytes, complete: false });
  });
});

describe('files of an offline schedule', () => {
  it('come before the outcome, and make the operation known', async () => {
    const [scheduleId, dueAt] = [randomUUID(), Date.now() - 5000];
    await fixture.sql.query(
      `INSERT INTO schedules (id, tenant_id, name, state, timing, overlap, catch_up, offline, operation, created_by,
         created_at, updated_at)
       VALUES (?, ?, 's', 'active', '{}', 'skip', 'last', 1, '{"procedure":"echo","deadlineSeconds":600}', 'user:u1',
         UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [scheduleId, tenantId],
    );
    const file = fileOf(scheduledOperationId(scheduleId, dueAt), randomBytes(1000));
    const schedule = { scheduleId, dueAt };
    expect(await call(file, { offset: 0, schedule })).toEqual({ received: 0, complete: false });
    expect(await targetOf(fixture, file.operationId, board.uuid)).toMatchObject({ state: 'running' });
    expect(await chunk(file, 0)).toMatchObject({ complete: true });
    const report = {
      operationId: file.operationId,
      attempt: 1,
      state: 'succeeded',
      artifacts: [file.artifact],
    };
    await session.call(agentUris.operationResult, { journalEpoch, reports: [{ ...report, schedule }] });
    expect(await operationOf(fixture, file.operationId)).toMatchObject({ state: 'succeeded' });
  });
});

describe('under stress', () => {
  const memoryOf = (pid = 0) => {
    const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes) * 1024;
  };

  it('fifty megabytes need no memory to speak of, and others are answered meanwhile', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), randomBytes(50 * 1024 * 1024));
    const other = await seedBoard(fixture, tenantId);
    const its = await goOnline(fixture, other);
    const before = fixture.agents.map(({ child }) => memoryOf(child.pid));
    let slowest = 0;
    let isOver = false;
    const heartbeats = (async () => {
      while (!isOver) {
        const startedAt = performance.now();
        await its.call(agentUris.heartbeat, { sentAt: Date.now() });
        slowest = Math.max(slowest, performance.now() - startedAt);
      }
    })();
    await upload(file);
    isOver = true;
    await heartbeats;
    expect((await rowOf(file))?.state).toBe('complete');
    expect(slowest).toBeLessThan(1000);
    for (const [index, { child }] of fixture.agents.entries())
      expect(memoryOf(child.pid) - (before[index] ?? 0)).toBeLessThan(100_000_000);
    await its.leave();
  });

  it('survives agents that are killed between chunks', async () => {
    const file = fileOf(await seedOperation(fixture, [board]), randomBytes(20_000_000));
    const killedAt: number[] = [];
    const receivedOf = async () => Number((await rowOf(file))?.received ?? 0);
    const killer = (async () => {
      for (let count = 0; count < 2; count += 1) {
        const at = await receivedOf();
        await until('the upload goes on', async () => (await receivedOf()) > at, { everyMs: 5 });
        await fixture.agents.shift()?.kill('SIGKILL');
        killedAt.push(await receivedOf());
        await fixture.startAgent();
      }
    })();
    let answer: ArtifactAnswer = { received: 0, complete: false };
    await until(
      'the file is there',
      async () => {
        try {
          answer = answer.complete ? answer : await chunk(file, answer.received, 20_000);
        } catch {
          // The agent died with the call: ask another where it is.
          answer = await ask(file).catch(() => answer);
        }
        return answer.complete;
      },
      { timeoutMs: 50_000, everyMs: 1 },
    );
    await killer;
    for (const at of killedAt) expect(at).toBeLessThan(file.bytes.length);
    expect(await stored(file)).toEqual(file.bytes);
    expect((await rowOf(file))?.state).toBe('complete');
  });
});

describe('retention', () => {
  // The router may have taken the session for dead while this process made files.
  beforeAll(async () => {
    session = await goOnline(fixture, board);
  });

  it('removes what has expired, keeps what others need, and tidies up', async () => {
    const database = createDatabase({ url: fixture.database.url, logger: createLogger('test', 'silent') });
    try {
      const store = createArtifactStore(fixture.artifactDir);
      const shared = fileOf(await seedOperation(fixture, [board]), randomBytes(100));
      const again = fileOf(await seedOperation(fixture, [board]), shared.bytes);
      const alone = fileOf(await seedOperation(fixture, [board]), randomBytes(100));
      const orphan = fileOf(await seedOperation(fixture, [board]), randomBytes(100));
      const half = fileOf(await seedOperation(fixture, [board]), randomBytes(300_000));
      for (const each of [shared, again, alone, orphan]) await upload(each);
      await chunk(half, 0);
      await fixture.sql.query(
        'UPDATE artifacts SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND WHERE operation_id IN (?)',
        [[shared.operationId, alone.operationId]],
      );
      await fixture.sql.query('DELETE FROM artifacts WHERE operation_id = ?', [orphan.operationId]);
      expect(await removeExpiredArtifacts(database, store)).toBe(2);
      expect(await stored(again)).toEqual(shared.bytes);
      await expect(stored(alone)).rejects.toThrow('ENOENT');
      expect(await removeOrphans(database, store, -1000)).toBeGreaterThanOrEqual(1);
      await expect(stored(orphan)).rejects.toThrow('ENOENT');
      expect(await stored(again)).toEqual(shared.bytes);
      await sweepParts(database, store, -1000);
      expect(await partsLeft()).toContain((await rowOf(half))?.id);
      await fixture.sql.query('DELETE FROM artifacts WHERE operation_id = ?', [half.operationId]);
      expect(await sweepParts(database, store, -1000)).toBeGreaterThanOrEqual(1);
    } finally {
      await database.close();
    }
  });
});
