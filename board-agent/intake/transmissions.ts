/**
 * Transmissions that were dealt with in the last five minutes, so that a repeated one is answered
 * and stored nowhere. In memory 8 bytes each in two generations; on disk one row for each commit.
 */
import { hash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';

export interface Transmissions {
  has(key: string): boolean;
  /** Takes over what is on disk since a transaction was committed. */
  add(keys: Iterable<string>, now: number): void;
}

export const transmissionLimits = { keepMs: 300_000, most: 200_000 } as const;

/** 11 characters that stand for source and transmission. */
export function transmissionKey(source: string, transmission: string): string {
  return hash('sha256', `${source}\n${transmission}`, 'base64url').slice(0, 11);
}

/** Inside a transaction. */
export function writeTransmissions(db: DatabaseSync, keys: readonly string[], now: number): void {
  const insert = prepared(db, 'INSERT INTO transmissions (at, hashes) VALUES (?, ?)');
  if (keys.length > 0) insert.run(now, Buffer.from(keys.join('')));
}

/** Inside a transaction. A clock that was set back must not make them stay for ever. */
export function trimTransmissions(db: DatabaseSync, now: number): void {
  prepared(db, 'DELETE FROM transmissions WHERE at < ? OR at > ?').run(
    now - transmissionLimits.keepMs,
    now + transmissionLimits.keepMs,
  );
}

export function loadTransmissions(db: DatabaseSync, now: number): Transmissions {
  let current = new Set<string>();
  let previous = new Set<string>();
  let since = now;

  function turn(at: number): void {
    previous = current;
    current = new Set();
    since = at;
  }

  const known: Transmissions = {
    has: (key) => current.has(key) || previous.has(key),
    add(keys, at) {
      if (Math.abs(at - since) >= transmissionLimits.keepMs || current.size >= transmissionLimits.most / 2)
        turn(at);
      for (const key of keys) current.add(key);
    },
  };
  for (const row of prepared(db, 'SELECT hashes FROM transmissions WHERE at >= ? ORDER BY id').iterate(
    now - transmissionLimits.keepMs,
  )) {
    const text = Buffer.from(row.hashes as Uint8Array).toString('latin1');
    known.add(text.match(/.{11}/gs) ?? [], now);
  }
  return known;
}
