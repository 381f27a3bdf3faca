/**
 * Runs what the intake has to do in transactions of the spool, one after the other: everything that
 * comes while one is under way goes together into the next.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Clock } from '../clock.ts';
import type { SpoolTransaction } from '../spool/appends.ts';
import type { Spool } from '../spool/spool.ts';
import { type Adopted, createDraft, type Draft } from './draft.ts';
import { type IntakeState, loadState } from './state.ts';

export interface WorkerOptions {
  spool: Pick<Spool, 'append'>;
  clock: Clock;
  logger: Logger;
  /** Bytes that dead letters may take. */
  letterBytes: number;
  kindOf: (source: string) => string;
  /** A transaction is on disk. */
  onAdopted: (changes: Adopted) => void;
}

export interface Item {
  /** What it takes in memory. */
  bytes: number;
  /** May run again, on another draft. */
  run(draft: Draft): unknown;
  done(result: unknown): void;
  /** AppError `unavailable`: nothing of it is kept. */
  failed(error: AppError): void;
}

export interface Worker {
  /** False when too much waits already. */
  hasRoom(): boolean;
  add(item: Item): void;
  /** In its turn. Rejects with AppError `unavailable`. */
  run<T>(task: (draft: Draft) => T): Promise<T>;
  /** What is on disk; undefined before the first transaction. */
  state(): IntakeState | undefined;
}

/** Bounds of what waits in memory for the disk. */
export const workerLimits = { items: 5000, bytes: 16_000_000, perTransaction: 500 } as const;

export function createWorker(options: WorkerOptions): Worker {
  const { spool, clock, logger, letterBytes, kindOf } = options;
  let state: IntakeState | undefined;
  let queue: Item[] = [];
  let queuedBytes = 0;
  let underWay: Item[] = [];
  let running = false;
  /** Items that go one by one, because one of them cannot be done. */
  let alone = 0;

  function add(item: Item): void {
    queue.push(item);
    queuedBytes += item.bytes;
    if (!running) void work();
  }

  async function work(): Promise<void> {
    running = true;
    while (queue.length > 0) {
      try {
        // Sockets give some dozens of messages a turn, and a commit costs as much for more of them.
        await nextTurn();
        const { draft, results } = await spool.append(runBatch);
        options.onAdopted(draft.adopt());
        for (const [index, item] of takeUnderWay().entries()) item.done(results[index]);
      } catch (error) {
        fail(error);
      }
    }
    running = false;
  }

  function takeUnderWay(): Item[] {
    const items = underWay;
    underWay = [];
    for (const { bytes } of items) queuedBytes -= bytes;
    alone = Math.max(0, alone - items.length);
    return items;
  }

  function runBatch(tx: SpoolTransaction): { draft: Draft; results: unknown[] } {
    if (underWay.length === 0) underWay = queue.splice(0, alone > 0 ? 1 : workerLimits.perTransaction);
    const now = clock.now();
    if (state?.db !== tx.db) state = loadState(tx.db, now);
    const draft = createDraft(state, tx, { now, nowMs: clock.monotonicMs(), letterBytes, kindOf });
    const results = underWay.map((item) => item.run(draft));
    draft.write();
    return { draft, results };
  }

  function fail(error: unknown): void {
    if (error instanceof AppError && error.code === 'unavailable') {
      // The spool takes nothing: what waits would meet the same.
      underWay = [...underWay, ...queue.splice(0)];
      for (const item of takeUnderWay()) item.failed(error);
    } else if (underWay.length > 1) {
      alone = underWay.length;
      queue = [...underWay.splice(0), ...queue];
    } else {
      logger.error({ err: error }, 'the intake has failed at a message');
      const internal = new AppError('unavailable', messageOf(error), { cause: error });
      for (const item of takeUnderWay()) item.failed(internal);
    }
  }

  return {
    hasRoom: () => queue.length < workerLimits.items && queuedBytes < workerLimits.bytes,
    add,
    run: (task) =>
      new Promise((resolve, reject) => {
        add({ bytes: 0, run: task, done: (result) => resolve(result as never), failed: reject });
      }),
    state: () => state,
  };
}
