/**
 * Files of the agent that are SQLite databases: the spool and the journal. WAL mode with
 * `synchronous=FULL`, because both promise that what was said is still known after the power went.
 * The lock is exclusive: no shared-memory file, and nobody else writes.
 */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

export interface FileSchema {
  version: number;
  /** Statements that make the tables; run once, in one transaction with `create`. */
  sql: string;
  /** First content. */
  create: (db: DatabaseSync) => void;
  /** Statements that make the next version of each older one; run in one transaction. */
  upgrades?: Readonly<Record<number, string>>;
  /** Kibibytes of pages that SQLite keeps in memory. */
  cacheKib: number;
}

/** Opens or creates the file. Throws what SQLite throws; isDamage tells a broken file from a full disk. */
export function openSqliteFile(path: string, schema: FileSchema): DatabaseSync {
  const db = new DatabaseSync(path);
  try {
    // Before the first table: it cannot be changed later without rewriting the file.
    db.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL');
    db.exec(`PRAGMA synchronous = FULL; PRAGMA cache_size = -${schema.cacheKib}`);
    db.exec('PRAGMA wal_autocheckpoint = 250');
    const version = Number(db.prepare('PRAGMA user_version').get()?.user_version);
    if (version === 0) {
      db.exec(`BEGIN; ${schema.sql}; PRAGMA user_version = ${schema.version}`);
      schema.create(db);
      db.exec('COMMIT');
    } else if (version !== schema.version) {
      upgrade(db, version, schema);
    }
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function upgrade(db: DatabaseSync, from: number, { version, upgrades = {} }: FileSchema): void {
  const steps: string[] = [];
  for (let each = from; each < version; each += 1) {
    const step = upgrades[each];
    if (step === undefined) throw new DamageError(`schema version ${from}`);
    steps.push(step);
  }
  // Of a newer agent: nobody here knows what is in it.
  if (steps.length === 0) throw new DamageError(`schema version ${from}`);
  db.exec(`BEGIN; ${steps.join(';')}; PRAGMA user_version = ${version}; COMMIT`);
}

const statements = new WeakMap<DatabaseSync, Map<string, StatementSync>>();

/** The statement, prepared once for each open file: for a fixed set of texts only. */
export function prepared(db: DatabaseSync, sql: string): StatementSync {
  const known = statements.get(db) ?? new Map<string, StatementSync>();
  if (known.size === 0) statements.set(db, known);
  const statement = known.get(sql) ?? db.prepare(sql);
  if (!known.has(sql)) known.set(sql, statement);
  return statement;
}

/** The table `meta` (key, value) of a file. */
export function readMeta(db: DatabaseSync): Map<unknown, unknown> {
  const rows = db.prepare('SELECT key, value FROM meta').all();
  return new Map(rows.map((row) => [row.key, row.value]));
}

/** Bytes in use, without the pages that are free for reuse. */
export function usedBytes(db: DatabaseSync): number {
  const read = (name: string) => Number(prepared(db, `PRAGMA ${name}`).get()?.[name]);
  return (read('page_count') - read('freelist_count')) * read('page_size');
}

/** Free pages that are given back to the file system at a time. */
const vacuumPages = 256;

/** Gives some of the free pages back; cheap to call often. */
export function vacuum(db: DatabaseSync): void {
  const free = Number(prepared(db, 'PRAGMA freelist_count').get()?.freelist_count);
  if (free >= vacuumPages) db.exec(`PRAGMA incremental_vacuum(${vacuumPages})`);
}

/** A file that opens but cannot be what it should be. */
export class DamageError extends Error {}

const sqliteResults = { corrupt: 11, full: 13, notADatabase: 26 } as const;
/** Busy, locked, no memory, read-only, I/O error, corrupt, full, cannot open, not a database. */
const diskFaults: readonly number[] = [5, 6, 7, 8, 10, 11, 13, 14, 26];

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

/** True when the fault is the file's or the machine's, and not the statement's. */
export function isDiskFault(error: unknown): boolean {
  const result = sqliteResult(error);
  return error instanceof DamageError || (result !== undefined && diskFaults.includes(result));
}

/** SQLite's primary result code. */
function sqliteResult(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

/** Set-aside files that are kept; older ones are deleted so that they never fill the disk. */
const keptFiles = 3;

/** Moves a damaged file out of the way, with its log. Answers with its new path. */
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
