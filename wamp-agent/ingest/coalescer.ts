/**
 * Puts the batches of many boards into few transactions, because each commit costs a disk flush.
 * Exactly one transaction is in flight; the next takes all that waited meanwhile. Under load a group
 * also waits some milliseconds for company, which halves the work; a lone board does not wait.
 */
import type { IngestPlan, ResolvedBatch } from '../../common/db/queries/ingest-plan.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface Coalescer {
  /** Resolves when the batch is committed. */
  store(batch: ResolvedBatch): Promise<StoredBatch>;
  /** Finishes what waits; later batches are refused. */
  stop(): Promise<void>;
}

export interface StoredBatch {
  ackedSeq: number;
  /** Index of the first reading that was new. */
  firstNew: number;
}

export interface CoalescerOptions {
  /** One transaction; undefined outcomes mean that the fence is gone. */
  write: (batches: ResolvedBatch[], deadlineMs: number) => Promise<IngestPlan>;
  onStored?: (batches: readonly ResolvedBatch[], plan: IngestPlan, waitedMs: number) => void;
  logger: Logger;
  limits?: Partial<CoalescerLimits>;
  now?: () => number;
}

export interface CoalescerLimits {
  /** From the first waiting batch to the transaction, under load. */
  floorMs: number;
  batches: number;
  rows: number;
  /** Texts, in characters. */
  textLength: number;
  /** A batch that could not be stored for this long is given back. */
  patienceMs: number;
  waitingBatches: number;
  /** Of one board, so that it cannot take the place of all others; an honest one sends one at a time. */
  waitingOfBoard: number;
  waitingRows: number;
}

const defaults: CoalescerLimits = {
  floorMs: 8,
  batches: 500,
  rows: 5000,
  textLength: 2_000_000,
  patienceMs: 20_000,
  waitingBatches: 5000,
  waitingOfBoard: 64,
  waitingRows: 500_000,
};

/** The last group was larger: more boards are sending than one commit takes time. */
const loadedGroup = 2;

interface Waiting {
  batch: ResolvedBatch;
  textLength: number;
  since: number;
  resolve(stored: StoredBatch): void;
  reject(error: unknown): void;
}

export function createCoalescer(options: CoalescerOptions): Coalescer {
  const { logger, now = () => performance.now() } = options;
  const limits = { ...defaults, ...options.limits };
  let queue: Waiting[] = [];
  let queuedRows = 0;
  const queuedOfBoard = new Map<string, number>();
  let lastGroup = 0;
  let cancelStart: (() => void) | undefined;
  let running: Promise<void> | undefined;
  let stopped = false;

  function schedule(): void {
    const first = queue[0];
    if (running || cancelStart || !first) return;
    const isFull = queue.length >= limits.batches || queuedRows >= limits.rows;
    const floorMs = isFull || stopped || lastGroup <= loadedGroup ? 0 : limits.floorMs;
    const start = () => {
      cancelStart = undefined;
      running = run().finally(() => {
        running = undefined;
        schedule();
      });
    };
    const delayMs = first.since + floorMs - now();
    if (delayMs > 0) {
      const timer = setTimeout(start, delayMs);
      cancelStart = () => clearTimeout(timer);
    } else {
      // After what has arrived already: it may hold batches of other boards.
      const immediate = setImmediate(start);
      cancelStart = () => clearImmediate(immediate);
    }
  }

  function takeGroup(): Waiting[] {
    let rows = 0;
    let textLength = 0;
    let size = 0;
    for (const each of queue) {
      rows += each.batch.readings.length;
      textLength += each.textLength;
      if (size > 0 && (rows > limits.rows || textLength > limits.textLength)) break;
      size += 1;
      if (size === limits.batches) break;
    }
    const group = queue.slice(0, size);
    queue = queue.slice(size);
    for (const each of group) count(each.batch, -1);
    return group;
  }

  function count({ boardUuid, readings }: ResolvedBatch, sign: 1 | -1): void {
    queuedRows += sign * readings.length;
    const batches = (queuedOfBoard.get(boardUuid) ?? 0) + sign;
    if (batches > 0) queuedOfBoard.set(boardUuid, batches);
    else queuedOfBoard.delete(boardUuid);
  }

  async function run(): Promise<void> {
    const group = takeGroup().filter((each) => {
      if (now() - each.since <= limits.patienceMs) return true;
      each.reject(new AppError('unavailable', 'readings could not be stored in time'));
      return false;
    });
    if (group.length === 0) return;
    lastGroup = group.length;
    try {
      await writeGroup(group);
    } catch (error) {
      const isOurs = error instanceof AppError;
      if (isOurs || group.length === 1) return rejectAll(group, error);
      // One of them cannot be stored, whatever is tried: it must not fail its neighbours.
      logger.warn({ err: error, batches: group.length }, 'a group could not be stored, trying one by one');
      for (const each of group) await writeGroup([each]).catch((fault) => rejectAll([each], fault));
    }
  }

  async function writeGroup(group: Waiting[]): Promise<void> {
    const batches = group.map((each) => each.batch);
    const oldest = Math.min(...group.map((each) => each.since));
    const deadlineMs = Math.max(1000, limits.patienceMs - (now() - oldest));
    const plan = await options.write(batches, deadlineMs);
    options.onStored?.(batches, plan, now() - oldest);
    for (const [index, each] of group.entries()) {
      const outcome = plan.outcomes[index];
      if (outcome?.ackedSeq === undefined)
        each.reject(new AppError('board-not-found', 'this board or its spool was deleted'));
      else each.resolve({ ackedSeq: outcome.ackedSeq, firstNew: outcome.firstNew });
    }
  }

  function rejectAll(group: readonly Waiting[], error: unknown): void {
    for (const each of group) each.reject(error);
  }

  return {
    store(batch) {
      if (stopped) return Promise.reject(new AppError('unavailable', 'stopping'));
      if (queue.length >= limits.waitingBatches || queuedRows >= limits.waitingRows)
        return Promise.reject(new AppError('unavailable', 'too many readings wait to be stored'));
      if ((queuedOfBoard.get(batch.boardUuid) ?? 0) >= limits.waitingOfBoard)
        return Promise.reject(new AppError('too-many-requests', 'too many batches of this board wait'));
      return new Promise((resolve, reject) => {
        queue.push({ batch, textLength: textLengthOf(batch), since: now(), resolve, reject });
        count(batch, 1);
        schedule();
      });
    },
    async stop() {
      stopped = true;
      cancelStart?.();
      cancelStart = undefined;
      schedule();
      while (running || queue.length > 0) {
        await running;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}

function textLengthOf({ readings }: ResolvedBatch): number {
  let length = 0;
  for (const [, , value] of readings) if (typeof value === 'string') length += value.length;
  return length;
}
