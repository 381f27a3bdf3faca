/**
 * The spool's file with its numbers: keeps the state in memory equal to what is committed. A damaged
 * file is set aside and a new epoch begins.
 */
import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Clock } from '../clock.ts';
import { prepared } from '../state/sqlite-file.ts';
import { createSqliteStore, type SqliteStore } from '../state/sqlite-store.ts';
import { openDatabase, type SpoolState } from './database.ts';

export interface StoreOptions {
  path: string;
  boardUuid: string;
  clock: Clock;
  logger: Logger;
  onNewEpoch: () => void;
}

export interface Store extends Omit<SqliteStore, 'transaction' | 'ensureOpen'> {
  state(): Readonly<SpoolState>;
  /** Takes a change over in memory; the next commit writes it. */
  note(change: Partial<SpoolState>): void;
  /**
   * Runs `work` in one transaction. It changes `next`, which counts once it is committed. Throws
   * what SQLite throws.
   */
  commit<T>(work: (db: DatabaseSync, next: SpoolState) => T): T;
}

/** More than the log grows to between two checkpoints. */
const reserveBytes = 2_097_152;

export function createStore(options: StoreOptions): Store {
  const { path, clock, logger } = options;
  let state: SpoolState = { epoch: randomUUID(), nextSeq: 1, ackedSeq: 0, unverifiedFrom: undefined };
  /** What the open file holds; undefined until the first commit to it. */
  let written: SpoolState | undefined;
  const file = createSqliteStore({ path, name: 'spool', open, reserveBytes, clock, logger });

  function open(): DatabaseSync {
    const before = state.epoch;
    const opened = openDatabase(path, options.boardUuid);
    written = undefined;
    // Everything that is numbered from here on is unconfirmed until hello has been answered.
    state = { ...opened.state, unverifiedFrom: opened.state.unverifiedFrom ?? opened.state.nextSeq };
    if (state.epoch !== before) options.onNewEpoch();
    return opened.db;
  }

  file.guard(file.ensureOpen, undefined);

  return {
    ...file,
    state: () => state,
    note(change) {
      state = { ...state, ...change };
    },
    commit(work) {
      // Opening may begin a new epoch: the numbers to go on from are those after it.
      file.ensureOpen();
      const next = { ...state };
      const result = file.transaction((db) => {
        const done = work(db, next);
        const put = prepared(db, 'INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
        if (next.epoch !== state.epoch) put.run('epoch', next.epoch);
        if (next.nextSeq !== written?.nextSeq) put.run('next_seq', next.nextSeq);
        // What was noted in memory may not be in the file yet: compared with what was written last.
        if (next.ackedSeq !== written?.ackedSeq) put.run('acked_seq', next.ackedSeq);
        if (!written || next.unverifiedFrom !== written.unverifiedFrom)
          put.run('unverified_from', next.unverifiedFrom ?? null);
        return done;
      });
      state = next;
      written = next;
      return result;
    },
  };
}
