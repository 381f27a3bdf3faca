/**
 * Work that waits for the spool's next transaction, and what becomes of it. One that throws takes
 * only itself out: the others run again, each behind a savepoint (which costs 3 µs, so not before).
 */
import type { DatabaseSync } from 'node:sqlite';
import { AppError } from '../../common/runtime/app-error.ts';
import { isDiskFault } from '../state/sqlite-file.ts';
import type { Reading } from './reading.ts';

export interface SpoolTransaction {
  readonly db: DatabaseSync;
  /** Gives the reading its number. It is not dropped in favour of newer ones. */
  add(reading: Reading): void;
}

/** May run again, in another transaction: it changes nothing but the database. */
export type SpoolWork<T> = (tx: SpoolTransaction) => T;

export interface Append {
  work: SpoolWork<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

export type Settled = { value: unknown } | { error: unknown };

/** A work has thrown: the transaction is to be rolled back and run again carefully. */
export class WorkError extends Error {}

/** Runs all in order. Throws WorkError, and what SQLite throws when the disk is at fault. */
export function runAppends(appends: readonly Append[], tx: SpoolTransaction): Settled[] {
  return appends.map(({ work }) => {
    try {
      return { value: work(tx) };
    } catch (error) {
      throw isDiskFault(error) ? error : new WorkError('a work has thrown', { cause: error });
    }
  });
}

/** The same, and what a work did before it threw is undone. `undo` is told after each that was. */
export function runCarefully(
  appends: readonly Append[],
  tx: SpoolTransaction,
  save: () => () => void,
): Settled[] {
  return appends.map(({ work }) => {
    const undo = save();
    tx.db.exec('SAVEPOINT work');
    try {
      const value = work(tx);
      tx.db.exec('RELEASE work');
      return { value };
    } catch (error) {
      if (isDiskFault(error)) throw error;
      tx.db.exec('ROLLBACK TO work; RELEASE work');
      undo();
      return { error };
    }
  });
}

export function settle(appends: readonly Append[], outcomes: readonly Settled[]): void {
  for (const [index, { resolve, reject }] of appends.entries()) {
    const outcome = outcomes[index];
    if (outcome && 'value' in outcome) resolve(outcome.value);
    else reject(outcome?.error ?? unavailable('it was not stored'));
  }
}

export function refuseAll(appends: readonly Append[], reason: string): void {
  for (const { reject } of appends) reject(unavailable(reason));
}

export function unavailable(reason: string): AppError {
  return new AppError('unavailable', `the spool takes nothing at the moment: ${reason}`);
}
