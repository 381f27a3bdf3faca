/** One transaction of the spool: what was sampled, what was appended, and the spool's bounds. */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../clock.ts';
import { prepared, usedBytes } from '../state/sqlite-file.ts';
import {
  type Append,
  runAppends,
  runCarefully,
  type Settled,
  type SpoolTransaction,
  unavailable,
  WorkError,
} from './appends.ts';
import { toStored } from './batch.ts';
import type { SpoolState } from './database.ts';
import { firstPromised, recordPromised } from './promised.ts';
import type { Reading } from './reading.ts';
import type { Store } from './store.ts';
import { createStreamIds } from './streams.ts';
import { firstSeq, recordGap, type SpoolLimits, trimByAge, trimByBytes } from './trim.ts';

export interface Waiting {
  buffer: readonly Reading[];
  /** Dropped from the buffer before they got a number. */
  unnumbered: number;
  appends: readonly Append[];
  /** An acknowledgement is not on disk yet. */
  stateChanged: boolean;
}

/** What became of the appends in their order, and how many sampled readings were dropped. */
export interface Written {
  settled: Settled[];
  tooOld: number;
  spoolFull: number;
}

export interface Writer {
  /** Writes all of it, or nothing. Throws what SQLite throws. */
  write(store: Pick<Store, 'commit'>, waiting: Waiting): Written;
  /** The numbering begins anew. */
  forgetMark(): void;
}

const markEveryMs = 60_000;
/** Share of the spool's bytes beyond which nothing is appended: the rest is for acknowledgements and counts. */
const appendShare = 0.9;

function refused(appends: readonly Append[]): Settled[] {
  const error = unavailable('it has no room');
  return appends.map(() => ({ error }));
}

export function createWriter(options: {
  limits: SpoolLimits;
  clock: Clock;
  commitIntervalMs: number;
}): Writer {
  const { limits, clock, commitIntervalMs } = options;
  const ids = createStreamIds();
  let lastMarkAt = 0;
  let tidiedAtMs = Number.NEGATIVE_INFINITY;

  function insert(db: DatabaseSync, next: SpoolState, { stream, at, value }: Reading): void {
    const row = prepared(db, 'INSERT INTO readings (seq, stream, at, value) VALUES (?, ?, ?, ?)');
    row.run(next.nextSeq, ids.idOf(db, stream), at, toStored(value));
    next.nextSeq += 1;
  }

  function skip(db: DatabaseSync, next: SpoolState, count: number, reason: 'disk-full' | 'spool-full'): void {
    if (count === 0) return;
    recordGap(db, next.nextSeq, next.nextSeq + count - 1, reason);
    next.nextSeq += count;
  }

  /** Answers with how many had to be dropped because everything older is promised. */
  function storeSampled(db: DatabaseSync, next: SpoolState, { buffer, unnumbered }: Waiting): number {
    skip(db, next, unnumbered, 'disk-full');
    const canDrop = () => firstPromised(db) > (firstSeq(db) ?? 0);
    if (buffer.length > 0 && usedBytes(db) > limits.maxBytes && !canDrop()) {
      skip(db, next, buffer.length, 'spool-full');
      return buffer.length;
    }
    for (const reading of buffer) insert(db, next, reading);
    return 0;
  }

  function storeAppends(
    db: DatabaseSync,
    next: SpoolState,
    appends: readonly Append[],
    careful: boolean,
  ): Settled[] {
    const from = next.nextSeq;
    const tx: SpoolTransaction = { db, add: (reading) => insert(db, next, reading) };
    const save = () => {
      const { nextSeq } = next;
      return () => {
        next.nextSeq = nextSeq;
        ids.forget();
      };
    };
    const settled = careful ? runCarefully(appends, tx, save) : runAppends(appends, tx);
    if (next.nextSeq > from) recordPromised(db, from, next.nextSeq - 1);
    return settled;
  }

  function tidy(db: DatabaseSync, next: SpoolState, now: number): { tooOld: number; spoolFull: number } {
    prepared(db, 'DELETE FROM readings WHERE seq <= ?').run(next.ackedSeq);
    prepared(db, 'DELETE FROM gaps WHERE to_seq <= ?').run(next.ackedSeq);
    prepared(db, 'DELETE FROM marks WHERE seq <= ?').run(next.ackedSeq);
    prepared(db, 'DELETE FROM promised WHERE to_seq <= ?').run(next.ackedSeq);
    if (Math.abs(now - lastMarkAt) >= markEveryMs)
      prepared(db, 'INSERT OR REPLACE INTO marks (seq, at) VALUES (?, ?)').run(next.nextSeq, now);
    return {
      tooOld: trimByAge(db, limits, now),
      spoolFull: trimByBytes(db, limits.maxBytes, next.nextSeq),
    };
  }

  function writeOnce(
    store: Pick<Store, 'commit'>,
    waiting: Waiting,
    careful: boolean,
    tidies: boolean,
  ): Written {
    const now = clock.now();
    const { appends } = waiting;
    return store.commit((db, next) => {
      let spoolFull = storeSampled(db, next, waiting);
      let settled: Settled[] = [];
      if (appends.length > 0) {
        const most = limits.maxBytes * appendShare;
        spoolFull += trimByBytes(db, most, next.nextSeq);
        settled = usedBytes(db) > most ? refused(appends) : storeAppends(db, next, appends, careful);
      }
      const trimmed = tidies ? tidy(db, next, now) : { tooOld: 0, spoolFull: 0 };
      return { settled, tooOld: trimmed.tooOld, spoolFull: spoolFull + trimmed.spoolFull };
    });
  }

  return {
    write(store, waiting) {
      const now = clock.now();
      const nowMs = clock.monotonicMs();
      // Thousands of transactions a second need not all look for what is old.
      const tidies =
        waiting.stateChanged || waiting.buffer.length > 0 || nowMs - tidiedAtMs >= commitIntervalMs;
      const attempt = (careful: boolean) => {
        try {
          return writeOnce(store, waiting, careful, tidies);
        } catch (error) {
          ids.forget();
          throw error;
        }
      };
      let written: Written;
      try {
        written = attempt(false);
      } catch (error) {
        if (!(error instanceof WorkError)) throw error;
        written = attempt(true);
      }
      if (!tidies) return written;
      tidiedAtMs = nowMs;
      if (Math.abs(now - lastMarkAt) >= markEveryMs) lastMarkAt = now;
      return written;
    },
    forgetMark() {
      lastMarkAt = 0;
    },
  };
}
