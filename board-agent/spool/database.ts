/**
 * The spool's file. Each commit is flushed to the disk, because a sequence number that was sent must
 * never be given again: without, the last commits are lost with the power, and the readings that got
 * their numbers the second time would be taken for repeats. One flush per tick pays for it.
 */
import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { isUuid } from '../../common/runtime/guards.ts';
import { DamageError, openSqliteFile, readMeta } from '../state/sqlite-file.ts';

const schemaVersion = 2;

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

/** Since version 2: what the intake (board-agent/intake) keeps. */
const intakeSchema = `
  -- Numbers of readings whose senders were told that they are stored: never dropped for newer ones.
  CREATE TABLE promised (from_seq INTEGER PRIMARY KEY, to_seq INTEGER NOT NULL);
  -- \`seen\` is the window of the last sequence numbers, see intake/sequence.ts.
  CREATE TABLE devices (name TEXT PRIMARY KEY, source TEXT NOT NULL, state TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL, last_seen_at INTEGER NOT NULL, last_seq INTEGER, floor_seq INTEGER, seen BLOB,
    received INTEGER NOT NULL, duplicate INTEGER NOT NULL, missed INTEGER NOT NULL, late INTEGER NOT NULL,
    restarted INTEGER NOT NULL, bad_mac INTEGER NOT NULL, refused INTEGER NOT NULL) WITHOUT ROWID;
  -- What the server has decided about modules of this board, heard or not.
  CREATE TABLE decisions (name TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE source_counts (name TEXT PRIMARY KEY, kind TEXT NOT NULL, received INTEGER NOT NULL,
    stored INTEGER NOT NULL, duplicate INTEGER NOT NULL, rejected INTEGER NOT NULL, waiting INTEGER NOT NULL)
    WITHOUT ROWID;
  CREATE TABLE dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, source TEXT NOT NULL,
    reason TEXT NOT NULL, detail TEXT NOT NULL, module TEXT, path TEXT NOT NULL, content_type TEXT, fields TEXT,
    payload BLOB NOT NULL, bytes INTEGER NOT NULL);
  CREATE INDEX dead_letters_of_module ON dead_letters (module, id) WHERE reason = 'quarantined';
  -- 8 bytes for each transmission that one commit has dealt with.
  CREATE TABLE transmissions (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, hashes BLOB NOT NULL);
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
  const db = openSqliteFile(path, {
    version: schemaVersion,
    sql: schema + intakeSchema,
    create,
    upgrades: { 1: intakeSchema },
    cacheKib: 1024,
  });
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
