/**
 * The spool's file. Each commit is flushed to the disk, because a sequence number that was sent must
 * never be given again: without, the last commits are lost with the power, and the readings that got
 * their numbers the second time would be taken for repeats. One flush per tick pays for it.
 */
import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { isUuid } from '../../common/runtime/guards.ts';
import { DamageError, openSqliteFile, readMeta } from '../state/sqlite-file.ts';

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
  const create = (db: DatabaseSync) => {
    const put = db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)');
    put.run('epoch', randomUUID());
    put.run('board_uuid', boardUuid);
    put.run('next_seq', 1);
    put.run('acked_seq', 0);
  };
  const db = openSqliteFile(path, { version: schemaVersion, sql: schema, create, cacheKib: 1024 });
  try {
    return { db, state: readState(db, boardUuid) };
  } catch (error) {
    db.close();
    throw error;
  }
}

function readState(db: DatabaseSync, boardUuid: string): SpoolState {
  const meta = readMeta(db);
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
