/**
 * Readings on their way to the server: a bounded buffer in memory, a file, and the numbers that
 * make repeats harmless.
 *
 *   add → buffer → (tick, one transaction) file, numbered → peek → sent → ack → (next tick) deleted
 *   append → (end of this turn of the event loop, one transaction for all) file, numbered → resolved
 *
 * `add` is for who has nobody to refuse: when there is no room, the oldest go. `append` is for who
 * tells a sender that it is stored: it is refused when there is no room, and nothing that it has
 * stored goes for newer readings.
 *
 * Rules that everything rests on: only what is committed is ever sent; a number is given once; a
 * number that will not come is in `gaps` with its reason. A disk that is full or failing never
 * throws out of here: readings wait in memory, then are counted as lost.
 */
import type { Logger } from '../../common/runtime/logger.ts';
import type { ReadingsBatch } from '../../common/wamp/readings.ts';
import type { Clock } from '../clock.ts';
import { isFull, usedBytes, vacuum } from '../state/sqlite-file.ts';
import { type Append, refuseAll, type Settled, type SpoolWork, settle, unavailable } from './appends.ts';
import { readBatch } from './batch.ts';
import type { Reading } from './reading.ts';
import { createReconciler } from './reconcile.ts';
import { countMissing, moveToRefused } from './rows.ts';
import { createStore } from './store.ts';
import { dropOldest, type SpoolLimits } from './trim.ts';
import { createWriter } from './writer.ts';

export interface SpoolOptions {
  path: string;
  boardUuid: string;
  limits: SpoolLimits;
  clock: Clock;
  logger: Logger;
  /** Longest time that a reading waits in memory. */
  commitIntervalMs?: number;
  maxBuffered?: number;
  /** Works of `append` that may wait. */
  maxAppends?: number;
  /** After the commit of new readings. */
  onCommit?: () => void;
  /** The numbering begins anew: the server has to hear of it before the next batch. */
  onNewEpoch?: () => void;
}

export interface SpoolStats {
  epoch: string;
  /** Readings that are not acknowledged, on disk and in memory. */
  waiting: number;
  buffered: number;
  ackedSeq: number;
  bytes: number;
  /** Counted since the start of the process. */
  lost: { spoolFull: number; tooOld: number; diskFull: number; refused: number };
  /** Why the file cannot be written at the moment. */
  fault?: string;
  /** Where the last damaged file was put. */
  setAside?: string;
}

export interface Spool {
  add(reading: Reading): void;
  /**
   * Runs `work` in the next transaction, after what came before it, together with what comes in this
   * turn of the event loop. Resolves when that is committed and flushed. Rejects with AppError
   * `unavailable` when the spool has no room, the disk fails or too much waits already, and with what
   * `work` throws; nothing of it is kept then.
   */
  append<T>(work: SpoolWork<T>): Promise<T>;
  /** Commits what is buffered, deletes what is acknowledged, keeps the bounds. Never throws. */
  flush(): void;
  /** The oldest readings that are on disk and not acknowledged; at most `maxReadings`. They count as sent. */
  peek(maxReadings: number): ReadingsBatch | undefined;
  /** The server has everything up to `seq` of that epoch. */
  ack(epoch: string, seq: number): void;
  /** The server will never take this one: it goes to the `refused` table and becomes a gap. */
  refuse(epoch: string, seq: number, reason: string): void;
  /** Compares with what the server has committed, said by hello. Tried again while the disk fails. */
  reconcile(epoch: string, serverAckedSeq: number): void;
  /** The comparison is made and on disk: only then may be sent what peek gives. */
  isConfirmed(): boolean;
  epoch(): string;
  /** Readings that are on disk and not acknowledged. */
  waiting(): number;
  stats(): SpoolStats;
  /** Flushes and closes; nothing may be called after it. */
  close(): void;
}

const defaults = { commitIntervalMs: 200, maxBuffered: 20_000, maxAppends: 10_000 } as const;
const retryDiskMs = 2000;
/** How often room is made on a full disk before what waits is given up for now. */
const fullAttempts = 8;

export function createSpool(options: SpoolOptions): Spool {
  const { limits, clock } = options;
  const { commitIntervalMs = defaults.commitIntervalMs, maxBuffered = defaults.maxBuffered } = options;
  const store = createStore({ ...options, onNewEpoch: () => options.onNewEpoch?.() });
  const { maxAppends = defaults.maxAppends } = options;
  const writer = createWriter({ limits, clock, commitIntervalMs });
  let buffer: Reading[] = [];
  let appends: Append[] = [];
  /** Dropped from the buffer before they got a number. */
  let unnumbered = 0;
  /** An acknowledgement that is not on disk yet. */
  let stateChanged = false;
  let retryAtMs = 0;
  let closed = false;
  let cancelTick: (() => void) | undefined;
  let endOfTurn: NodeJS.Immediate | undefined;
  const lost: SpoolStats['lost'] = { spoolFull: 0, tooOld: 0, diskFull: 0, refused: 0 };

  function write(): Settled[] {
    const { settled, tooOld, spoolFull } = writer.write(store, { buffer, unnumbered, appends, stateChanged });
    lost.tooOld += tooOld;
    lost.spoolFull += spoolFull;
    return settled;
  }

  /** When the disk has no room: first the reserve, then the oldest give theirs to the newest. */
  function writeMakingRoom(): Settled[] {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return write();
      } catch (error) {
        if (!isFull(error) || attempt === fullAttempts) throw error;
        if (attempt === 0) store.makeRoom();
        else if (!dropForRoom()) throw error;
      }
    }
  }

  /** False when nothing may be dropped. */
  function dropForRoom(): boolean {
    const dropped = store.commit((db, next) => dropOldest(db, next.nextSeq, 'disk-full'));
    lost.diskFull += dropped;
    return dropped > 0;
  }

  function flush(): void {
    cancelTick?.();
    cancelTick = undefined;
    if (endOfTurn) clearImmediate(endOfTurn);
    endOfTurn = undefined;
    commitWaiting();
    schedule();
  }

  function commitWaiting(): void {
    const fresh = buffer.length + unnumbered + appends.length > 0;
    if (!fresh && !stateChanged) return;
    const tries = clock.monotonicMs() >= retryAtMs;
    const settled = tries ? store.guard(writeMakingRoom, undefined) : undefined;
    const works = appends;
    appends = [];
    if (!settled) {
      if (tries) retryAtMs = clock.monotonicMs() + retryDiskMs;
      refuseAll(works, store.fault() ?? 'its file cannot be written');
      return;
    }
    buffer = [];
    unnumbered = 0;
    stateChanged = false;
    settle(works, settled);
    store.read(vacuum, undefined);
    if (fresh) options.onCommit?.();
  }

  function schedule(): void {
    if (cancelTick || (buffer.length === 0 && !stateChanged)) return;
    cancelTick = clock.after(commitIntervalMs, flush);
  }

  function ack(epoch: string, seq: number): void {
    const state = store.state();
    if (epoch !== state.epoch || seq <= state.ackedSeq || seq >= state.nextSeq) return;
    store.note({ ackedSeq: seq });
    stateChanged = true;
    schedule();
  }

  const reconciler = createReconciler({
    store,
    clock,
    logger: options.logger,
    retryDiskMs,
    ack,
    // What has been measured on the way goes with the first batch.
    onConfirmed: flush,
    onRenumbered() {
      writer.forgetMark();
      options.onNewEpoch?.();
    },
  });

  function peek(maxReadings: number): ReadingsBatch | undefined {
    const batch = store.read((db) => readBatch(db, store.state(), maxReadings), undefined);
    if (batch) reconciler.noteSent(batch.from + batch.readings.length - 1);
    return batch;
  }

  function waiting(): number {
    const { nextSeq, ackedSeq } = store.state();
    return nextSeq - 1 - ackedSeq - store.read((db) => countMissing(db, ackedSeq), 0);
  }

  return {
    add(reading) {
      if (buffer.length >= maxBuffered) {
        buffer.shift();
        unnumbered += 1;
        lost.diskFull += 1;
      }
      buffer.push(reading);
      schedule();
    },
    append<T>(work: SpoolWork<T>) {
      if (closed) return Promise.reject(unavailable('the agent stops'));
      if (appends.length >= maxAppends) return Promise.reject(unavailable('too much waits for the disk'));
      endOfTurn ??= setImmediate(flush);
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      appends.push({ work, resolve, reject });
      return promise as Promise<T>;
    },
    flush,
    peek,
    ack,
    refuse(epoch, seq, reason) {
      const moved = store.guard(
        () =>
          store.commit(
            (db, next) => epoch === next.epoch && moveToRefused(db, next, seq, reason, clock.now()),
          ),
        false,
      );
      if (moved) lost.refused += 1;
    },
    reconcile: reconciler.reconcile,
    isConfirmed: () => store.state().unverifiedFrom === undefined,
    epoch: () => store.state().epoch,
    waiting,
    stats() {
      const fault = store.fault();
      const setAside = store.setAsidePath();
      return {
        epoch: store.state().epoch,
        waiting: waiting() + buffer.length,
        buffered: buffer.length,
        ackedSeq: store.state().ackedSeq,
        bytes: store.read(usedBytes, 0),
        lost: { ...lost },
        ...(fault !== undefined && { fault }),
        ...(setAside !== undefined && { setAside }),
      };
    },
    close() {
      closed = true;
      retryAtMs = 0;
      flush();
      cancelTick?.();
      cancelTick = undefined;
      reconciler.stop();
      store.close();
    },
  };
}
