/**
 * Readings on their way to the server: a bounded buffer in memory, a file, and the numbers that
 * make repeats harmless.
 *
 *   add → buffer → (tick, one transaction) file, numbered → peek → sent → ack → (next tick) deleted
 *
 * Rules that everything rests on: only what is committed is ever sent; a number is given once; a
 * number that will not come is in `gaps` with its reason. A disk that is full or failing never
 * throws out of here: readings wait in memory, then are counted as lost.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ReadingsBatch, ReadingValue, StreamDeclaration } from '../../common/wamp/readings.ts';
import type { Clock } from '../clock.ts';
import { isFull, usedBytes, vacuum } from '../state/sqlite-file.ts';
import { readBatch, toStored } from './batch.ts';
import type { SpoolState } from './database.ts';
import { countMissing, moveToRefused, renumber, streamId } from './rows.ts';
import { createStore } from './store.ts';
import { dropOldest, recordGap, type SpoolLimits, trimByAge, trimByBytes } from './trim.ts';

export interface Reading {
  stream: StreamDeclaration;
  /** Epoch milliseconds. */
  at: number;
  value: ReadingValue;
}

export interface SpoolOptions {
  path: string;
  boardUuid: string;
  limits: SpoolLimits;
  clock: Clock;
  logger: Logger;
  /** Longest time that a reading waits in memory. */
  commitIntervalMs?: number;
  maxBuffered?: number;
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
  /** Commits what is buffered, deletes what is acknowledged, keeps the bounds. Never throws. */
  flush(): void;
  /** The oldest readings that are on disk and not acknowledged; at most `maxReadings`. */
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

const defaults = { commitIntervalMs: 200, maxBuffered: 20_000 } as const;
const markEveryMs = 60_000;
const retryDiskMs = 2000;

export function createSpool(options: SpoolOptions): Spool {
  const { limits, clock } = options;
  const { commitIntervalMs = defaults.commitIntervalMs, maxBuffered = defaults.maxBuffered } = options;
  const store = createStore({ ...options, onNewEpoch: () => options.onNewEpoch?.() });
  let buffer: Reading[] = [];
  /** Dropped from the buffer before they got a number. */
  let unnumbered = 0;
  /** An acknowledgement that is not on disk yet. */
  let stateChanged = false;
  let lastMarkAt = 0;
  let retryAtMs = 0;
  let cancelTick: (() => void) | undefined;
  let cancelReconcile: (() => void) | undefined;
  const lost: SpoolStats['lost'] = { spoolFull: 0, tooOld: 0, diskFull: 0, refused: 0 };

  function storeBuffered(db: DatabaseSync, next: SpoolState): void {
    if (unnumbered > 0) {
      recordGap(db, next.nextSeq, next.nextSeq + unnumbered - 1, 'disk-full');
      next.nextSeq += unnumbered;
    }
    const ids = new Map<string, number>();
    const insert = db.prepare('INSERT INTO readings (seq, stream, at, value) VALUES (?, ?, ?, ?)');
    for (const reading of buffer) {
      insert.run(next.nextSeq, streamId(db, ids, reading.stream), reading.at, toStored(reading.value));
      next.nextSeq += 1;
    }
  }

  function tidy(db: DatabaseSync, next: SpoolState, now: number): { tooOld: number; spoolFull: number } {
    db.prepare('DELETE FROM readings WHERE seq <= ?').run(next.ackedSeq);
    db.prepare('DELETE FROM gaps WHERE to_seq <= ?').run(next.ackedSeq);
    db.prepare('DELETE FROM marks WHERE seq <= ?').run(next.ackedSeq);
    if (Math.abs(now - lastMarkAt) >= markEveryMs)
      db.prepare('INSERT OR REPLACE INTO marks (seq, at) VALUES (?, ?)').run(next.nextSeq, now);
    return {
      tooOld: trimByAge(db, limits, now),
      spoolFull: trimByBytes(db, limits, next.nextSeq),
    };
  }

  function write(): void {
    const now = clock.now();
    const trimmed = store.commit((db, next) => {
      storeBuffered(db, next);
      return tidy(db, next, now);
    });
    if (Math.abs(now - lastMarkAt) >= markEveryMs) lastMarkAt = now;
    lost.tooOld += trimmed.tooOld;
    lost.spoolFull += trimmed.spoolFull;
  }

  /** When the disk has no room: first the reserve, then the oldest give theirs to the newest. */
  function writeMakingRoom(): boolean {
    try {
      write();
      return true;
    } catch (error) {
      if (!isFull(error)) throw error;
    }
    store.makeRoom();
    try {
      write();
    } catch (error) {
      if (!isFull(error)) throw error;
      const dropped = store.commit((db, next) => dropOldest(db, next.nextSeq, 'disk-full'));
      if (dropped === 0) throw error;
      lost.diskFull += dropped;
      write();
    }
    return true;
  }

  function flush(): void {
    cancelTick?.();
    cancelTick = undefined;
    const fresh = buffer.length + unnumbered > 0;
    if ((fresh || stateChanged) && clock.monotonicMs() >= retryAtMs) {
      if (store.guard(writeMakingRoom, false)) {
        buffer = [];
        unnumbered = 0;
        stateChanged = false;
        store.read(vacuum, undefined);
        if (fresh) options.onCommit?.();
      } else {
        retryAtMs = clock.monotonicMs() + retryDiskMs;
      }
    }
    schedule();
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

  /**
   * On disk before anything is sent: from then on the server may know more than this file. What was
   * sent without would be renumbered after a restart, and stored twice.
   */
  function reconcile(epoch: string, serverAckedSeq: number): void {
    cancelReconcile?.();
    cancelReconcile = undefined;
    const { epoch: own, unverifiedFrom } = store.state();
    if (epoch !== own) return;
    const hasLostCommits = unverifiedFrom !== undefined && serverAckedSeq >= unverifiedFrom;
    if (!hasLostCommits) ack(epoch, serverAckedSeq);
    if (unverifiedFrom === undefined) return;
    const settle = (db: DatabaseSync, next: SpoolState) => {
      if (hasLostCommits) renumber(db, next, unverifiedFrom);
      else next.unverifiedFrom = undefined;
      return true;
    };
    if (!store.guard(() => store.commit(settle), false)) {
      cancelReconcile = clock.after(retryDiskMs, () => reconcile(epoch, serverAckedSeq));
      return;
    }
    // What has been measured on the way goes with the first batch.
    flush();
    if (!hasLostCommits) return;
    options.logger.error(
      { serverAckedSeq, unverifiedFrom },
      'the spool has lost commits: its numbering begins anew',
    );
    lastMarkAt = 0;
    options.onNewEpoch?.();
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
    flush,
    peek: (maxReadings) => store.read((db) => readBatch(db, store.state(), maxReadings), undefined),
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
    reconcile,
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
      retryAtMs = 0;
      flush();
      cancelTick?.();
      cancelTick = undefined;
      cancelReconcile?.();
      store.close();
    },
  };
}
