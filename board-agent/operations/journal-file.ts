/** Tables of `journal.db`, and single steps on them; the steps run inside a transaction of journal.ts. */
import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { isUuid } from '../../common/runtime/guards.ts';
import type { BoardSchedule } from '../../common/wamp/board-schedules.ts';
import { DamageError, openSqliteFile, readMeta } from '../state/sqlite-file.ts';
import { type Entry, isEnded } from './entry.ts';

const schema = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
  -- \`entry\` is the whole of it as JSON; the other columns are for finding and counting.
  CREATE TABLE operations (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, ended INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL, deadline_at INTEGER NOT NULL, entry TEXT NOT NULL);
  CREATE INDEX open_operations ON operations (n) WHERE acknowledged = 0;
  CREATE INDEX acknowledged_operations ON operations (deadline_at) WHERE acknowledged = 1;
  -- What the board fires by itself; due times up to \`fired_until\` are done with.
  CREATE TABLE schedules (id TEXT PRIMARY KEY, schedule TEXT NOT NULL, fired_until INTEGER NOT NULL) WITHOUT ROWID;
`;

export interface JournalState {
  /** uuid of this life of the journal. */
  epoch: string;
  /** Server's clock: everything sent to the board since then is here. */
  since: number;
  /** False until the server's clock was known: `since` is only what the host's clock said. */
  sinceConfirmed: boolean;
}

export interface JournalFile {
  db: DatabaseSync;
  state: JournalState;
}

/** Opens or creates the file. Throws what SQLite throws. */
export function openJournal(path: string, boardUuid: string, now: number): JournalFile {
  const create = (db: DatabaseSync) => {
    const put = db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)');
    put.run('epoch', randomUUID());
    put.run('board_uuid', boardUuid);
    put.run('since', now);
    put.run('since_confirmed', 0);
  };
  const db = openSqliteFile(path, { version: 1, sql: schema, create, cacheKib: 256 });
  try {
    const meta = readMeta(db);
    const epoch = meta.get('epoch');
    const since = meta.get('since');
    if (!isUuid(epoch) || typeof since !== 'number') throw new DamageError('its own numbers are missing');
    if (meta.get('board_uuid') !== boardUuid) throw new DamageError('it belongs to another board');
    return { db, state: { epoch, since, sinceConfirmed: meta.get('since_confirmed') === 1 } };
  } catch (error) {
    db.close();
    throw error;
  }
}

export function writeState(db: DatabaseSync, state: JournalState): void {
  const put = db.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
  put.run('since', state.since);
  put.run('since_confirmed', Number(state.sinceConfirmed));
}

export function writeEntries(db: DatabaseSync, entries: Iterable<{ entry: Entry; text: string }>): void {
  const put = db.prepare(
    `INSERT INTO operations (id, ended, acknowledged, deadline_at, entry) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, acknowledged = excluded.acknowledged,
       deadline_at = excluded.deadline_at, entry = excluded.entry`,
  );
  for (const { entry, text } of entries)
    put.run(
      entry.operationId,
      Number(isEnded(entry)),
      Number(entry.acknowledged),
      Math.min(entry.deadlineAt, Number.MAX_SAFE_INTEGER),
      text,
    );
}

export function writeAcknowledgements(db: DatabaseSync, ids: Iterable<string>): void {
  const acknowledge = db.prepare('UPDATE operations SET acknowledged = 1 WHERE id = ?');
  for (const id of ids) acknowledge.run(id);
}

interface Row {
  n: number;
  entry: string;
  acknowledged: number;
}

export function toEntry(row: Row): Entry {
  return { ...(JSON.parse(row.entry) as Entry), acknowledged: row.acknowledged === 1 };
}

export function findEntry(db: DatabaseSync, id: string): Entry | undefined {
  const row = db.prepare('SELECT n, entry, acknowledged FROM operations WHERE id = ?').get(id);
  return row && toEntry(row as unknown as Row);
}

/** Not acknowledged, in the order in which they came; `ended` or not; one page behind number `after`. */
export function readOpen(
  db: DatabaseSync,
  ended: boolean,
  after: number,
  limit: number,
): { entries: Entry[]; last: number } {
  const rows = db
    .prepare(
      `SELECT n, entry, acknowledged FROM operations
       WHERE acknowledged = 0 AND n > ? AND ended = ? ORDER BY n LIMIT ?`,
    )
    .all(after, Number(ended), limit) as unknown as Row[];
  return { entries: rows.map(toEntry), last: rows.at(-1)?.n ?? after };
}

/** Ended and not acknowledged, without those of the given ids. */
export function countUnacknowledged(db: DatabaseSync, without: readonly string[]): number {
  const row = db
    .prepare(
      `SELECT count(*) AS n FROM operations
       WHERE acknowledged = 0 AND ended = 1 AND id NOT IN (SELECT value FROM json_each(?))`,
    )
    .get(JSON.stringify(without));
  return Number(row?.n ?? 0);
}

export interface KeptEntries {
  /** Acknowledged entries whose deadline is longer ago go. */
  keepMs: number;
  entries: number;
  bytes: number;
}

/** Share of the acknowledged entries that goes in one step when there are too many bytes. */
const dropShare = 1 / 16;

/**
 * Drops acknowledged entries that nobody will ask for, or that there are too many of. Answers with
 * the time since when everything is known, when that has moved.
 */
export function pruneAcknowledged(
  db: DatabaseSync,
  kept: KeptEntries,
  usedBytes: (db: DatabaseSync) => number,
  now: number,
): number | undefined {
  const count = Number(
    db.prepare('SELECT count(*) AS n FROM operations WHERE acknowledged = 1').get()?.n ?? 0,
  );
  const old = Number(
    db
      .prepare('SELECT count(*) AS n FROM operations WHERE acknowledged = 1 AND deadline_at < ?')
      .get(now - kept.keepMs)?.n ?? 0,
  );
  const tooLarge = usedBytes(db) > kept.bytes ? Math.ceil(count * dropShare) : 0;
  const excess = Math.max(old, count - kept.entries, tooLarge);
  if (excess <= 0) return undefined;
  const rows = db
    .prepare(
      `DELETE FROM operations WHERE n IN (
         SELECT n FROM operations WHERE acknowledged = 1 ORDER BY deadline_at LIMIT ?) RETURNING deadline_at`,
    )
    .all(excess);
  // It may have been sent again at any time up to its deadline.
  const last = rows.reduce((max, row) => Math.max(max, Number(row.deadline_at)), 0);
  return Math.min(last, now) + 1;
}

export interface StoredSchedule {
  schedule: BoardSchedule;
  firedUntil: number;
}

export function readSchedules(db: DatabaseSync): StoredSchedule[] {
  return db
    .prepare('SELECT schedule, fired_until FROM schedules ORDER BY id')
    .all()
    .map((row) => ({
      schedule: JSON.parse(String(row.schedule)) as BoardSchedule,
      firedUntil: Number(row.fired_until),
    }));
}

/** The given ones and no others. What is known already keeps what it has fired. */
export function replaceSchedules(db: DatabaseSync, schedules: readonly BoardSchedule[]): void {
  const put = db.prepare(
    `INSERT INTO schedules (id, schedule, fired_until) VALUES (?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET schedule = excluded.schedule,
       fired_until = max(fired_until, excluded.fired_until)`,
  );
  for (const each of schedules) put.run(each.scheduleId, JSON.stringify(each), each.after);
  const wanted = JSON.stringify(schedules.map((each) => each.scheduleId));
  db.prepare('DELETE FROM schedules WHERE id NOT IN (SELECT value FROM json_each(?))').run(wanted);
}

export function writeFired(db: DatabaseSync, fired: Iterable<[string, number]>): void {
  const put = db.prepare('UPDATE schedules SET fired_until = ? WHERE id = ?');
  for (const [id, until] of fired) put.run(until, id);
}
