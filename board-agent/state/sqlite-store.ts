/**
 * One SQLite file kept usable: opened (again) when needed, faults noted, a damaged file set aside
 * and replaced by an empty one.
 */
import type { DatabaseSync } from 'node:sqlite';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Clock } from '../clock.ts';
import { createReserve } from './reserve.ts';
import { isDamage, setAside } from './sqlite-file.ts';

export interface SqliteStoreOptions {
  path: string;
  /** What it is called in log lines, e.g. `spool`. */
  name: string;
  /** Opens or creates the file, and checks what is in it. */
  open: (path: string) => DatabaseSync;
  reserveBytes: number;
  clock: Clock;
  logger: Logger;
}

export interface SqliteStore {
  /** Runs `work` in one transaction. Throws what SQLite throws. */
  transaction<T>(work: (db: DatabaseSync) => T): T;
  /** Reads; `otherwise` when the file is not there or not readable. */
  read<T>(work: (db: DatabaseSync) => T, otherwise: T): T;
  /** Runs something that may throw: the fault is noted, a damaged file replaced. */
  guard<T>(work: () => T, otherwise: T): T;
  /** Opens the file if it is not open. Throws what SQLite throws. */
  ensureOpen(): DatabaseSync;
  /** The disk is full: gives the reserve away and folds the log into the file. */
  makeRoom(): void;
  fault(): string | undefined;
  /** Path of the last damaged file. */
  setAsidePath(): string | undefined;
  close(): void;
}

export function createSqliteStore(options: SqliteStoreOptions): SqliteStore {
  const { path, name, clock, logger } = options;
  const reserve = createReserve(path, options.reserveBytes, clock);
  let db: DatabaseSync | undefined;
  let fault: string | undefined;
  let setAsidePath: string | undefined;

  function ensureOpen(): DatabaseSync {
    db ??= openOrReplace();
    return db;
  }

  function openOrReplace(): DatabaseSync {
    try {
      return options.open(path);
    } catch (error) {
      if (!isDamage(error)) throw error;
      putAside(error);
      return options.open(path);
    }
  }

  function putAside(error: unknown): void {
    setAsidePath = setAside(path, clock.now());
    logger.error(
      { err: error, keptAs: setAsidePath },
      `the ${name} file is unusable: set aside, a new one begins`,
    );
  }

  function guard<T>(work: () => T, otherwise: T): T {
    try {
      return work();
    } catch (error) {
      if (fault === undefined) logger.error({ err: error }, `the ${name} cannot be written or read`);
      fault = messageOf(error);
      if (isDamage(error)) replaceDamaged(error);
      return otherwise;
    }
  }

  function replaceDamaged(error: unknown): void {
    try {
      db?.close();
    } catch (closing) {
      logger.debug({ err: closing }, 'a damaged file does not close cleanly');
    }
    db = undefined;
    putAside(error);
  }

  return {
    transaction(work) {
      const on = ensureOpen();
      on.exec('BEGIN IMMEDIATE');
      try {
        const result = work(on);
        on.exec('COMMIT');
        fault = undefined;
        guard(reserve.restore, undefined);
        return result;
      } catch (error) {
        // A full disk may have rolled back already.
        if (on.isTransaction) on.exec('ROLLBACK');
        throw error;
      }
    },
    read: (work, otherwise) => guard(() => (db ? work(db) : otherwise), otherwise),
    guard,
    ensureOpen,
    makeRoom() {
      reserve.release();
      ensureOpen().exec('PRAGMA wal_checkpoint(RESTART)');
    },
    fault: () => fault,
    setAsidePath: () => setAsidePath,
    close() {
      guard(() => db?.close(), undefined);
      db = undefined;
    },
  };
}
