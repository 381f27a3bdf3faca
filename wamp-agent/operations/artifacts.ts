/**
 * `boardwalk.agent.put_artifact`: the next chunk of a file of an operation, or the question where to
 * go on. Only for an attempt of the calling board that is not over.
 */
import type { ArtifactStore } from '../../common/artifacts/store.ts';
import type { Database } from '../../common/db/database.ts';
import { isEnded } from '../../common/operations/states.ts';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ArtifactAnswer, ArtifactChunk } from '../../common/wamp/artifacts.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import type { BoardEntry } from '../boards/directory.ts';
import type { GetCaller } from '../boards/get-caller.ts';
import type { Metrics } from '../metrics.ts';
import { findTargets, keyOf, type TargetOfBoard } from './target-queries.ts';
import { createUploads, type Uploads } from './upload.ts';

export interface ArtifactsOptions {
  database: Database;
  /** undefined: this agent has none. */
  store: ArtifactStore | undefined;
  keptDays: number;
  getCaller: GetCaller;
  /** Makes the operation that a board ran by an offline schedule: its outcome comes after its files. */
  noteRunning: (board: BoardEntry, chunk: ArtifactChunk) => Promise<unknown>;
  metrics: Pick<Metrics, 'artifactBytes' | 'artifacts'>;
  logger: Logger;
}

/** Chunks are held in memory while they are written. An honest board sends one at a time. */
const callLimits = { all: 64, ofBoard: 2 } as const;
const fullRetryMs = 30_000;
const faultRetryMs = 5000;
const warnEveryMs = 60_000;

export function createPutArtifact(options: ArtifactsOptions) {
  const { database, metrics, store } = options;
  const uploads = store && createUploads({ ...options, store });
  const ofBoard = new Map<string, number>();
  let inFlight = 0;
  let warnedAt = Number.NEGATIVE_INFINITY;

  async function findTarget(board: BoardEntry, chunk: ArtifactChunk): Promise<TargetOfBoard | undefined> {
    const key = { boardUuid: board.uuid, operationId: chunk.operationId };
    return (await database.read((manager) => findTargets(manager, [key]))).get(keyOf(key));
  }

  async function put(uploads: Uploads, board: BoardEntry, chunk: ArtifactChunk): Promise<ArtifactAnswer> {
    const { operationId, attempt, artifact, offset } = chunk;
    const bytes = Buffer.from(chunk.data ?? '', 'base64');
    if (bytes.length > operationLimits.chunkBytes)
      throw new AppError('payload-too-large', `data must have at most ${operationLimits.chunkBytes} bytes`);
    let target = await findTarget(board, chunk);
    if (!target && chunk.schedule) {
      await options.noteRunning(board, chunk);
      target = await findTarget(board, chunk);
    }
    if (!target) throw new AppError('not-found', 'this operation does not exist');
    const key = { boardUuid: board.uuid, operationId, attempt, name: artifact.name };
    const known = await uploads.find(key, artifact);
    if (known?.state === 'complete') return { received: known.size, complete: true };
    if (target.attempt !== attempt || (isEnded(target.state) && target.state !== 'unknown'))
      throw new AppError('operation-ended', 'this attempt is over');
    if (!known) await uploads.begin(board.tenantId, key, artifact);
    const standing = known ?? (await uploads.find(key, artifact));
    return standing ? uploads.advance(key, standing, offset, bytes) : { received: 0, complete: false };
  }

  /** What the file system says is for the operator; the board comes again later, and nothing is lost. */
  function asFault(error: unknown): unknown {
    const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException;
    if (error instanceof AppError || syscall === undefined || code === undefined) return error;
    const isFull = code === 'ENOSPC' || code === 'EDQUOT';
    const message = isFull ? 'the artifact store is full' : 'the artifact store cannot be used right now';
    if (performance.now() - warnedAt > warnEveryMs) {
      warnedAt = performance.now();
      options.logger.error({ reason: messageOf(error) }, message);
    }
    const retryAfterMs = isFull ? fullRetryMs : faultRetryMs;
    return new AppError('unavailable', message, { cause: error, details: { retryAfterMs } });
  }

  function enter(boardUuid: string): void {
    const own = ofBoard.get(boardUuid) ?? 0;
    if (own >= callLimits.ofBoard)
      throw new AppError('too-many-requests', 'files of this board are being taken already', {
        details: { retryAfterMs: 1000 },
      });
    if (inFlight >= callLimits.all)
      throw new AppError('unavailable', 'too many files are being taken', {
        details: { retryAfterMs: 1000 },
      });
    ofBoard.set(boardUuid, own + 1);
    inFlight += 1;
  }

  function leave(boardUuid: string): void {
    const own = (ofBoard.get(boardUuid) ?? 1) - 1;
    if (own > 0) ofBoard.set(boardUuid, own);
    else ofBoard.delete(boardUuid);
    inFlight -= 1;
  }

  return async (chunk: ArtifactChunk, caller: Caller): Promise<ArtifactAnswer> => {
    const board = await options.getCaller(caller);
    if (!uploads) throw new AppError('unavailable', 'no artifact store is configured');
    enter(board.uuid);
    try {
      return await put(uploads, board, chunk);
    } catch (error) {
      const fault = asFault(error);
      metrics.artifacts.inc({ outcome: fault instanceof AppError ? fault.code : 'internal' });
      throw fault;
    } finally {
      leave(board.uuid);
    }
  };
}
