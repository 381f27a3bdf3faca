/**
 * Puts what many boards say at once into few transactions. Exactly one is in flight; the next takes
 * all that waited meanwhile, within limits. What readings have with more care (ingest/coalescer.ts).
 */
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface Gatherer<T, R> {
  /** Resolves when it is committed. Refuses at once when too much waits, of all or of one board. */
  add(item: T): Promise<R>;
  /** Finishes what waits; what comes later is refused. */
  stop(): Promise<void>;
}

export interface GathererOptions<T, R> {
  /** One transaction; answers in the order of the items. */
  write: (items: T[]) => Promise<R[]>;
  boardOf: (item: T) => string;
  /** What an item costs of `limits.size`. */
  sizeOf: (item: T) => number;
  logger: Logger;
  limits?: Partial<GathererLimits>;
}

export interface GathererLimits {
  /** Of one transaction. */
  items: number;
  size: number;
  waiting: number;
  /** An honest board waits for one answer before its next call. */
  waitingOfBoard: number;
}

const defaults: GathererLimits = { items: 200, size: 2_000_000, waiting: 2000, waitingOfBoard: 16 };

interface Waiting<T, R> {
  item: T;
  size: number;
  resolve(result: R): void;
  reject(error: unknown): void;
}

export function createGatherer<T, R>(options: GathererOptions<T, R>): Gatherer<T, R> {
  const limits = { ...defaults, ...options.limits };
  let queue: Waiting<T, R>[] = [];
  const ofBoard = new Map<string, number>();
  let running: Promise<void> | undefined;
  let stopped = false;

  function count(item: T, sign: 1 | -1): void {
    const board = options.boardOf(item);
    const left = (ofBoard.get(board) ?? 0) + sign;
    if (left > 0) ofBoard.set(board, left);
    else ofBoard.delete(board);
  }

  function start(): void {
    if (running || queue.length === 0) return;
    running = run().finally(() => {
      running = undefined;
      start();
    });
  }

  async function run(): Promise<void> {
    // After what has arrived already: it may hold the word of other boards.
    await new Promise((resolve) => setImmediate(resolve));
    const group = takeGroup();
    try {
      await writeGroup(group);
    } catch (error) {
      if (error instanceof AppError || group.length === 1) return rejectAll(group, error);
      // One of them cannot be stored, whatever is tried: it must not fail its neighbours.
      options.logger.warn({ err: error, calls: group.length }, 'a group failed, trying one by one');
      for (const each of group) await writeGroup([each]).catch((fault) => rejectAll([each], fault));
    }
  }

  function takeGroup(): Waiting<T, R>[] {
    let size = 0;
    let length = 0;
    for (const each of queue) {
      size += each.size;
      if (length === limits.items || (length > 0 && size > limits.size)) break;
      length += 1;
    }
    const group = queue.slice(0, length);
    queue = queue.slice(length);
    return group;
  }

  async function writeGroup(group: Waiting<T, R>[]): Promise<void> {
    const results = await options.write(group.map((each) => each.item));
    for (const [index, each] of group.entries()) {
      count(each.item, -1);
      each.resolve(results[index] as R);
    }
  }

  function rejectAll(group: readonly Waiting<T, R>[], error: unknown): void {
    for (const each of group) {
      count(each.item, -1);
      each.reject(error);
    }
  }

  return {
    add(item) {
      if (stopped) return Promise.reject(new AppError('unavailable', 'stopping'));
      if (queue.length >= limits.waiting)
        return Promise.reject(new AppError('unavailable', 'too much waits to be stored'));
      if ((ofBoard.get(options.boardOf(item)) ?? 0) >= limits.waitingOfBoard)
        return Promise.reject(new AppError('too-many-requests', 'too many calls of this board wait'));
      return new Promise((resolve, reject) => {
        queue.push({ item, size: options.sizeOf(item), resolve, reject });
        count(item, 1);
        start();
      });
    },
    async stop() {
      stopped = true;
      while (running) await running;
    },
  };
}
