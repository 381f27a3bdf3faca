/** Single steps on the spool's tables; all of them run inside a transaction of store.ts. */
import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';
import type { SpoolState } from './database.ts';
import { recordGap } from './trim.ts';

const maxRefusedRows = 10_000;

export function moveToRefused(
  db: DatabaseSync,
  state: SpoolState,
  seq: number,
  reason: string,
  now: number,
): boolean {
  const moved = prepared(
    db,
    `INSERT INTO refused (epoch, seq, stream, at, value, reason, refused_at)
       SELECT ?, seq, name, at, value, ?, ? FROM readings JOIN streams ON streams.id = stream WHERE seq = ?`,
  ).run(state.epoch, reason.slice(0, 500), now, seq);
  if (moved.changes === 0) return false;
  prepared(db, 'DELETE FROM readings WHERE seq = ?').run(seq);
  prepared(db, 'DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?').run(maxRefusedRows);
  recordGap(db, seq, seq, 'refused');
  return true;
}

/**
 * Numbers were given a second time, see reconcile.ts. What came before `from` is on the server; what is
 * new goes on in a new epoch.
 */
export function renumber(db: DatabaseSync, next: SpoolState, from: number): void {
  const shift = from - 1;
  prepared(db, 'DELETE FROM readings WHERE seq < ?').run(from);
  prepared(db, 'DELETE FROM gaps WHERE to_seq < ?').run(from);
  prepared(db, 'DELETE FROM promised WHERE to_seq < ?').run(from);
  db.exec('DELETE FROM marks');
  prepared(db, 'UPDATE readings SET seq = seq - ?').run(shift);
  prepared(db, 'UPDATE gaps SET from_seq = max(1, from_seq - ?), to_seq = to_seq - ?').run(shift, shift);
  prepared(db, 'UPDATE promised SET from_seq = max(1, from_seq - ?), to_seq = to_seq - ?').run(shift, shift);
  next.epoch = randomUUID();
  next.nextSeq -= shift;
  next.ackedSeq = 0;
  next.unverifiedFrom = undefined;
}

export function countMissing(db: DatabaseSync, ackedSeq: number): number {
  const missing = prepared(
    db,
    'SELECT sum(to_seq - max(from_seq, ? + 1) + 1) AS n FROM gaps WHERE to_seq > ?',
  ).get(ackedSeq, ackedSeq)?.n;
  return Number(missing ?? 0);
}
