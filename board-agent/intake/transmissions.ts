/**
 * Transmissions that were dealt with in the last five minutes, so that a repeated one is answered
 * and stored nowhere. In memory 8 bytes each in two generations; on disk one row for each commit.
 *
 * The last ones before a stop are kept longer, for brokers: what was not acknowledged then comes again
 * when the agent is back, days later perhaps, and says of itself that it is a repetition.
 */
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';
import { createKeySet, keyLength } from './key-set.ts';
import { quickKey } from './quick-hash.ts';

const nothing = new Uint8Array(0);

export interface Transmissions {
  /** `repetition`: the message says that it is one, so that an old one counts too. */
  has(key: string, repetition?: boolean): boolean;
  /** Takes over what is on disk since a transaction was committed. */
  add(keys: Iterable<string>, now: number): void;
}

export const transmissionLimits = {
  keepMs: 300_000,
  most: 200_000,
  lastCommits: 1000,
  trimEveryMs: 10_000,
} as const;

/** 8 characters, each a byte, that stand for source and transmission. */
export function transmissionKey(source: string, transmission: string): string {
  return quickKey(`${source}\n${transmission}`, nothing, keyLength);
}

/** Inside a transaction. */
export function writeTransmissions(db: DatabaseSync, keys: readonly string[], now: number): void {
  const insert = prepared(db, 'INSERT INTO transmissions (at, hashes) VALUES (?, ?)');
  if (keys.length > 0) insert.run(now, Buffer.from(keys.join(''), 'latin1'));
}

/** Inside a transaction. A clock that was set back must not make them stay for ever. */
export function trimTransmissions(db: DatabaseSync, now: number): void {
  const { keepMs, lastCommits } = transmissionLimits;
  prepared(
    db,
    'DELETE FROM transmissions WHERE (at < ? OR at > ?) AND id <= (SELECT max(id) FROM transmissions) - ?',
  ).run(now - keepMs, now + keepMs, lastCommits);
}

export function loadTransmissions(db: DatabaseSync, now: number): Transmissions {
  let current = createKeySet();
  let previous = createKeySet();
  let since = now;
  /** Before the agent was started. */
  const old = createKeySet();

  function turn(at: number): void {
    previous = current;
    current = createKeySet();
    since = at;
  }

  const known: Transmissions = {
    has: (key, repetition) => current.has(key) || previous.has(key) || (repetition === true && old.has(key)),
    add(keys, at) {
      if (Math.abs(at - since) >= transmissionLimits.keepMs || current.size() >= transmissionLimits.most / 2)
        turn(at);
      for (const key of keys) current.add(key);
    },
  };
  for (const row of prepared(db, 'SELECT at, hashes FROM transmissions ORDER BY id').iterate()) {
    const keys = Buffer.from(row.hashes as Uint8Array)
      .toString('latin1')
      .match(/.{8}/gs);
    if (Number(row.at) >= now - transmissionLimits.keepMs) known.add(keys ?? [], now);
    else for (const key of keys ?? []) old.add(key);
  }
  return known;
}
