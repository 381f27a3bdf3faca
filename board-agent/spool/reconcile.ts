/**
 * Compares the spool's numbers with what the server has committed, said by hello. Two things come to
 * light by it: a file that has lost commits (a disk that lies, a copy put back), and another agent that
 * sends from a copy of this folder. In both cases the server has other readings under these numbers,
 * and what is new here goes into a new epoch.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Clock } from '../clock.ts';
import type { SpoolState } from './database.ts';
import { renumber } from './rows.ts';
import type { Store } from './store.ts';

export interface Reconciler {
  /** The server has everything up to `serverAckedSeq` of that epoch. Tried again while the disk fails. */
  reconcile(epoch: string, serverAckedSeq: number): void;
  /** Readings up to this number may be on their way. */
  noteSent(seq: number): void;
  stop(): void;
}

export interface ReconcilerOptions {
  store: Pick<Store, 'state' | 'note' | 'guard' | 'commit'>;
  clock: Clock;
  logger: Logger;
  retryDiskMs: number;
  ack: (epoch: string, seq: number) => void;
  /** It is on disk: what waits may be sent. */
  onConfirmed: () => void;
  /** The numbering has begun anew. */
  onRenumbered: () => void;
}

export function createReconciler(options: ReconcilerOptions): Reconciler {
  const { store, clock, logger } = options;
  /** Last number from before the server confirmed what it has, and the highest that may have been sent since. */
  let confirmedSeq = 0;
  let sentSeq = 0;
  let cancel: (() => void) | undefined;

  /** Between two hellos only one of two agents with this key can have sent. */
  function noteForeignNumbers(serverAckedSeq: number): void {
    const { unverifiedFrom, ackedSeq } = store.state();
    if (unverifiedFrom !== undefined || serverAckedSeq <= Math.max(sentSeq, ackedSeq)) return;
    logger.error(
      { serverAckedSeq, sentSeq },
      'another agent sends readings under the numbers of this one: was its state folder copied?',
    );
    store.note({ unverifiedFrom: Math.max(ackedSeq, confirmedSeq) + 1 });
  }

  /**
   * On disk before anything is sent: from then on the server may know more than this file. What was
   * sent without would be renumbered after a restart, and stored twice.
   */
  function reconcile(epoch: string, serverAckedSeq: number): void {
    stop();
    if (epoch !== store.state().epoch) return;
    noteForeignNumbers(serverAckedSeq);
    const { unverifiedFrom } = store.state();
    const isNotOurs = unverifiedFrom !== undefined && serverAckedSeq >= unverifiedFrom;
    if (!isNotOurs) options.ack(epoch, serverAckedSeq);
    if (unverifiedFrom === undefined) return;
    const settle = (db: DatabaseSync, next: SpoolState) => {
      if (isNotOurs) renumber(db, next, unverifiedFrom);
      else next.unverifiedFrom = undefined;
      return true;
    };
    if (!store.guard(() => store.commit(settle), false)) {
      cancel = clock.after(options.retryDiskMs, () => reconcile(epoch, serverAckedSeq));
      return;
    }
    confirmedSeq = isNotOurs ? 0 : unverifiedFrom - 1;
    sentSeq = confirmedSeq;
    options.onConfirmed();
    if (!isNotOurs) return;
    logger.error(
      { serverAckedSeq, unverifiedFrom },
      'the server has numbers that this spool has not sent: its numbering begins anew',
    );
    options.onRenumbered();
  }

  function stop(): void {
    cancel?.();
    cancel = undefined;
  }

  return {
    reconcile,
    noteSent(seq) {
      sentSeq = Math.max(sentSeq, seq);
    },
    stop,
  };
}
