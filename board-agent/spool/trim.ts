/** Bounds of the spool: the oldest go first, and every number that goes is written down as a gap. */
import type { DatabaseSync } from 'node:sqlite';
import { prepared, usedBytes } from '../state/sqlite-file.ts';
import { firstPromised } from './promised.ts';

export type LossReason = 'spool-full' | 'too-old' | 'disk-full' | 'refused';

export interface SpoolLimits {
  maxBytes: number;
  maxAgeMs: number;
}

/** A clock that says less has not been set yet; ages measured with it mean nothing. */
const earliestTrustedTime = Date.UTC(2024, 0, 1);
/** Share of the stored readings that is dropped in one step when there is no room. */
const dropShare = 1 / 64;

/** Numbers that were given but will not come; merged with an adjoining gap of the same reason. */
export function recordGap(db: DatabaseSync, from: number, to: number, reason: LossReason): void {
  const merged = prepared(db, 'UPDATE gaps SET to_seq = ? WHERE to_seq = ? AND reason = ?');
  if (merged.run(to, from - 1, reason).changes === 0)
    prepared(db, 'INSERT INTO gaps (from_seq, to_seq, reason) VALUES (?, ?, ?)').run(from, to, reason);
}

/** Drops what waits below `beforeSeq`. Answers with how many readings that were. Inside a transaction. */
export function dropBefore(db: DatabaseSync, beforeSeq: number, reason: LossReason): number {
  let dropped = 0;
  // Numbers that are missing already stay with the reason they have.
  for (let from = firstSeq(db); from !== undefined && from < beforeSeq; from = firstSeq(db)) {
    const to = Math.min(endOfRun(db, from), beforeSeq - 1);
    dropped += Number(prepared(db, 'DELETE FROM readings WHERE seq BETWEEN ? AND ?').run(from, to).changes);
    recordGap(db, from, to, reason);
  }
  return dropped;
}

export function firstSeq(db: DatabaseSync): number | undefined {
  const seq = prepared(db, 'SELECT min(seq) AS seq FROM readings').get()?.seq;
  return typeof seq === 'number' ? seq : undefined;
}

/** Last number before the next hole. */
function endOfRun(db: DatabaseSync, from: number): number {
  const gap = prepared(db, 'SELECT min(from_seq) AS seq FROM gaps WHERE from_seq > ?').get(from)?.seq;
  return typeof gap === 'number' ? gap - 1 : Number.MAX_SAFE_INTEGER;
}

/** Drops what waits for too long. Inside a transaction. */
export function trimByAge(db: DatabaseSync, limits: SpoolLimits, now: number): number {
  const mark = prepared(db, 'SELECT max(seq) AS seq FROM marks WHERE at >= ? AND at < ?').get(
    earliestTrustedTime,
    now - limits.maxAgeMs,
  )?.seq;
  return typeof mark === 'number' ? dropBefore(db, mark, 'too-old') : 0;
}

/** Drops the oldest until the file is within its bytes. Inside a transaction. */
export function trimByBytes(db: DatabaseSync, maxBytes: number, nextSeq: number): number {
  let dropped = 0;
  for (let round = 0; round < 64 && usedBytes(db) > maxBytes; round += 1) {
    const step = dropOldest(db, nextSeq, 'spool-full');
    if (step === 0) break;
    dropped += step;
  }
  return dropped;
}

/** Drops one step of the oldest, up to the first that was promised. Inside a transaction. */
export function dropOldest(db: DatabaseSync, nextSeq: number, reason: LossReason): number {
  const first = firstSeq(db);
  if (first === undefined) return 0;
  const step = first + Math.max(1, Math.ceil((nextSeq - first) * dropShare));
  return dropBefore(db, Math.min(step, firstPromised(db)), reason);
}
