/**
 * Which numbers belong to readings whose senders were told that they are stored. Kept in runs, so
 * that it is a row now and then and no flag on each reading.
 */
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';

/** Sampled readings between two runs count as promised when they are fewer: the table stays small. */
const mergeWithin = 1000;

/** Inside a transaction. */
export function recordPromised(db: DatabaseSync, from: number, to: number): void {
  const last = prepared(db, 'SELECT max(from_seq) AS seq, to_seq FROM promised').get();
  if (typeof last?.seq === 'number' && from - Number(last.to_seq) <= mergeWithin)
    prepared(db, 'UPDATE promised SET to_seq = ? WHERE from_seq = ?').run(to, last.seq);
  else prepared(db, 'INSERT INTO promised (from_seq, to_seq) VALUES (?, ?)').run(from, to);
}

/** Where dropping has to end; Infinity when nothing is promised. */
export function firstPromised(db: DatabaseSync): number {
  const seq = prepared(db, 'SELECT min(from_seq) AS seq FROM promised').get()?.seq;
  return typeof seq === 'number' ? seq : Number.POSITIVE_INFINITY;
}
