/**
 * The spool's file with its numbers: opens it (again) when needed, runs transactions, and keeps the
 * state in memory equal to what is committed. A damaged file is set aside and a new epoch begins.
 */
import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Clock } from '../clock.ts';
import { isDamage, openDatabase, type SpoolDatabase, type SpoolState, setAside } from './database.ts';
import { createReserve } from './reserve.ts';

export interface StoreOptions {
  path: string;
  boardUuid: string;
  clock: Clock;
  logger: Logger;
  onNewEpoch: () => void;
}

export interface Store {
  state(): Readonly<SpoolState>;
  /** Takes a change over in memory; the next commit writes it. */
  note(change: Partial<SpoolState>): void;
  /**
   * Runs `work` in one transaction. It changes `next`, which counts once it is committed. Throws
   * what SQLite throws.
   */
  commit<T>(work: (db: DatabaseSync, next: SpoolState) => T): T;
  /** Reads; `otherwise` when the file is not there or not readable. */
  read<T>(work: (db: DatabaseSync) => T, otherwise: T): T;
  /** Runs something that may throw: the fault is noted, a damaged file replaced. */
  guard<T>(work: () => T, otherwise: T): T;
  /** The disk is full: gives the reserve away and folds the log into the file. */
  makeRoom(): void;
  fault(): string | undefined;
  /** Path of the last damaged file. */
  setAsidePath(): string | undefined;
  close(): void;
}

export function createStore(options: StoreOptions): Store {
  const { path, boardUuid, clock, logger } = options;
  let db: DatabaseSync | undefined;
  let state: SpoolState = { epoch: randomUUID(), nextSeq: 1, ackedSeq: 0, unverifiedFrom: undefined };
  const reserve = createReserve(path, clock);
  let fault: string | undefined;
  let setAsidePath: string | undefined;

  function ensureOpen(): DatabaseSync {
    if (db) return db;
    const before = state.epoch;
    const opened = openOrReplace();
    db = opened.db;
    // Everything that is numbered from here on is unconfirmed until hello has been answered.
    state = { ...opened.state, unverifiedFrom: opened.state.unverifiedFrom ?? opened.state.nextSeq };
    if (state.epoch !== before) options.onNewEpoch();
    return db;
  }

  function openOrReplace(): SpoolDatabase {
    try {
      return openDatabase(path, boardUuid);
    } catch (error) {
      if (!isDamage(error)) throw error;
      putAside(error);
      return openDatabase(path, boardUuid);
    }
  }

  function putAside(error: unknown): void {
    setAsidePath = setAside(path, clock.now());
    logger.error(
      { err: error, keptAs: setAsidePath },
      'the spool file is unusable: set aside, a new one begins',
    );
  }

  function commit<T>(work: (on: DatabaseSync, next: SpoolState) => T): T {
    const on = ensureOpen();
    const next = { ...state };
    on.exec('BEGIN IMMEDIATE');
    try {
      const result = work(on, next);
      const put = on.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
      if (next.epoch !== state.epoch) put.run('epoch', next.epoch);
      put.run('next_seq', next.nextSeq);
      put.run('acked_seq', next.ackedSeq);
      put.run('unverified_from', next.unverifiedFrom ?? null);
      on.exec('COMMIT');
      state = next;
      fault = undefined;
      guard(reserve.restore, undefined);
      return result;
    } catch (error) {
      // A full disk may have rolled back already.
      if (on.isTransaction) on.exec('ROLLBACK');
      throw error;
    }
  }

  function guard<T>(work: () => T, otherwise: T): T {
    try {
      return work();
    } catch (error) {
      if (fault === undefined) logger.error({ err: error }, 'the spool cannot be written or read');
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

  guard(ensureOpen, undefined);

  return {
    state: () => state,
    note(change) {
      state = { ...state, ...change };
    },
    commit,
    read: (work, otherwise) => guard(() => (db ? work(db) : otherwise), otherwise),
    guard,
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
