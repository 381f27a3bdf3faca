/**
 * The spool's file: SQLite in WAL mode. `synchronous=FULL` because a sequence number that was sent
 * must never be given again: with NORMAL the last commits are lost with the power, and the readings
 * that got their numbers the second time would be taken for repeats. One flush per tick pays for it.
 * The lock is exclusive: no shared-memory file, and nobody else writes.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isUuid } from '../../common/runtime/guards.ts';

const schemaVersion = 1;

const schema = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, unit TEXT NOT NULL,
    UNIQUE (name, type, unit));
  CREATE TABLE readings (seq INTEGER PRIMARY KEY, stream INTEGER NOT NULL, at INTEGER NOT NULL, value NOT NULL);
  -- Numbers that will never be sent, and why.
  CREATE TABLE gaps (from_seq INTEGER PRIMARY KEY, to_seq INTEGER NOT NULL, reason TEXT NOT NULL);
  -- Which number came next at which time: the age of a reading is the time that it has waited here.
  CREATE TABLE marks (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL);
  -- What the server would not take, set aside for people.
  CREATE TABLE refused (id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, stream TEXT NOT NULL,
    at INTEGER NOT NULL, value NOT NULL, reason TEXT NOT NULL, refused_at INTEGER NOT NULL);
  PRAGMA user_version = ${schemaVersion};
`;

export interface SpoolState {
  /** uuid of this life of the numbering. */
  epoch: string;
  nextSeq: number;
  ackedSeq: number;
  /**
   * First number given since the server last confirmed what it has; set at start, cleared by
   * hello. When the server has it or more already, the file has lost commits.
   */
  unverifiedFrom: number | undefined;
}

export interface SpoolDatabase {
  db: DatabaseSync;
  state: SpoolState;
}

/** Opens or creates the file. Throws what SQLite throws; isDamage tells a broken file from a full disk. */
export function openDatabase(path: string, boardUuid: string): SpoolDatabase {
  const db = new DatabaseSync(path);
  try {
    // Before the first table: it cannot be changed later without rewriting the file.
    db.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL');
    db.exec('PRAGMA synchronous = FULL; PRAGMA cache_size = -1024; PRAGMA wal_autocheckpoint = 250');
    const version = db.prepare('PRAGMA user_version').get()?.user_version;
    if (version === 0) create(db, boardUuid);
    else if (version !== schemaVersion) throw new DamageError(`schema version ${String(version)}`);
    return { db, state: readState(db, boardUuid) };
  } catch (error) {
    db.close();
    throw error;
  }
}

function create(db: DatabaseSync, boardUuid: string): void {
  db.exec(`BEGIN; ${schema}`);
  const put = db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)');
  put.run('epoch', randomUUID());
  put.run('board_uuid', boardUuid);
  put.run('next_seq', 1);
  put.run('acked_seq', 0);
  db.exec('COMMIT');
}

function readState(db: DatabaseSync, boardUuid: string): SpoolState {
  const meta = new Map(
    db
      .prepare('SELECT key, value FROM meta')
      .all()
      .map((row) => [row.key, row.value]),
  );
  const epoch = meta.get('epoch');
  const nextSeq = meta.get('next_seq');
  const ackedSeq = meta.get('acked_seq');
  const unverifiedFrom = meta.get('unverified_from');
  if (!isUuid(epoch) || typeof nextSeq !== 'number' || typeof ackedSeq !== 'number')
    throw new DamageError('its own numbers are missing');
  if (meta.get('board_uuid') !== boardUuid) throw new DamageError('it belongs to another board');
  const last = db.prepare('SELECT max(seq) AS seq FROM readings').get()?.seq;
  if (typeof last === 'number' && last >= nextSeq) throw new DamageError('its numbers contradict each other');
  return {
    epoch,
    nextSeq,
    ackedSeq,
    unverifiedFrom: typeof unverifiedFrom === 'number' ? unverifiedFrom : undefined,
  };
}

/** A file that opens but cannot be this board's spool. */
class DamageError extends Error {}

const sqliteResults = { corrupt: 11, full: 13, notADatabase: 26 } as const;

/** True when the file itself is unusable and must be set aside; false for full or failing disks. */
export function isDamage(error: unknown): boolean {
  if (error instanceof DamageError) return true;
  const result = sqliteResult(error);
  return result === sqliteResults.corrupt || result === sqliteResults.notADatabase;
}

/** True when the disk, or the file's own bound, leaves no room. */
export function isFull(error: unknown): boolean {
  return sqliteResult(error) === sqliteResults.full;
}

/** SQLite's primary result code. */
function sqliteResult(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

/** Set-aside files that are kept; older ones are deleted so that they never fill the disk. */
const keptFiles = 3;

/** Moves a damaged spool out of the way, with its log. Answers with its new path. */
export function setAside(path: string, now: number): string {
  const stamp = new Date(now).toISOString().replaceAll(/[:.]/g, '-');
  const kept = `${path}.damaged-${stamp}`;
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, kept + suffix);
  }
  const names = readdirSync(dirname(path)).filter((name) => name.startsWith(`${basename(path)}.damaged-`));
  const stamps = [...new Set(names.map((name) => name.replace(/-(wal|shm|journal)$/, '')))].sort();
  for (const old of stamps.slice(0, -keptFiles)) {
    for (const name of names.filter((each) => each.startsWith(old))) rmSync(join(dirname(path), name));
  }
  return kept;
}
