/** Readings into the database, exactly once: a function of board and batch, whatever carried it. */
import type { Database } from '../../common/db/database.ts';
import { storeBatches } from '../../common/db/queries/ingest.ts';
import { hourMs, type IngestPlan, type ResolvedBatch } from '../../common/db/queries/ingest-plan.ts';
import type { ConsumersOf } from '../../common/db/queries/outbox-append.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ReadingsBatch } from '../../common/wamp/readings.ts';
import type { Metrics } from '../metrics.ts';
import { type CoalescerLimits, createCoalescer } from './coalescer.ts';
import type { NewestAt } from './newest-at.ts';
import { type BatchOwner, createBatchResolver } from './resolve.ts';

export interface Ingest {
  /** Resolves when the batch is committed, with the highest sequence number that is. */
  append(board: BatchOwner, batch: ReadingsBatch): Promise<AppendResult>;
  stop(): Promise<void>;
}

export interface AppendResult {
  ackedSeq: number;
  /** Index of the first reading that was new. */
  firstNew: number;
}

export interface IngestOptions {
  database: Database;
  newestAt: NewestAt;
  metrics: Metrics;
  logger: Logger;
  limits?: Partial<CoalescerLimits>;
  /** Who gets the readings of a tenant; without, nobody does. */
  consumersOf?: ConsumersOf;
  /** These have got something, just committed. */
  onOutbox?: (consumers: readonly string[]) => void;
}

/** MySQL 1526: no partition takes this value. */
const noPartition = 1526;

export function createIngest(options: IngestOptions): Ingest {
  const { database, newestAt, metrics } = options;
  const resolver = createBatchResolver(database);
  const marks = createMarks();

  const coalescer = createCoalescer({
    logger: options.logger,
    ...(options.limits && { limits: options.limits }),
    async write(batches, deadlineMs) {
      const endTimer = metrics.commitSeconds.startTimer();
      try {
        return await write(batches, deadlineMs);
      } catch (error) {
        if ((error as { errno?: unknown } | null)?.errno !== noPartition) throw error;
        await newestAt.refresh();
        return await write(batches, deadlineMs);
      } finally {
        endTimer();
      }
    },
    onStored(_batches, plan, waitedMs) {
      marks.remember(plan);
      metrics.readings.inc(plan.rows.length);
      if (plan.consumers.length > 0) options.onOutbox?.(plan.consumers);
      metrics.ingestLagSeconds.observe(waitedMs / 1000);
    },
  });

  function write(batches: ResolvedBatch[], deadlineMs: number): Promise<IngestPlan> {
    return database.transaction(
      (manager) =>
        storeBatches(manager, batches, {
          newestAt: newestAt.value(),
          isMarked: marks.isMarked,
          ...(options.consumersOf && { consumersOf: options.consumersOf }),
        }),
      { repeatable: true, deadlineMs },
    );
  }

  return {
    async append(board, batch) {
      try {
        const stored = await coalescer.store(await resolver.resolve(board, batch));
        metrics.batches.inc({ outcome: 'stored' });
        return stored;
      } catch (error) {
        metrics.batches.inc({ outcome: 'refused' });
        const isKnownFault = error instanceof AppError && error.code !== 'board-not-found';
        // What is remembered may be of a board that was deleted.
        if (!isKnownFault) resolver.forget(board.uuid);
        throw error;
      }
    },
    stop: coalescer.stop,
  };
}

/** Clocks of agent and conductor differ by less, and a transaction ends sooner. */
const rollMarginMs = 600_000;

/**
 * The rollup marks of the current hour that this agent has committed. The conductor rolls only hours
 * that have ended, so until shortly before the end a mark that is there need not be raised again.
 */
export function createMarks(now: () => number = Date.now) {
  let currentHour = 0;
  let marked = new Set<number>();
  return {
    isMarked(streamId: number, hourAt: number): boolean {
      return hourAt === currentHour && now() < hourAt + hourMs - rollMarginMs && marked.has(streamId);
    },
    remember(plan: IngestPlan): void {
      const hour = now() - (now() % hourMs);
      if (hour !== currentHour) {
        currentHour = hour;
        marked = new Set();
      }
      for (const { streamId, hourAt } of plan.dirtyHours) if (hourAt === hour) marked.add(streamId);
    },
  };
}
