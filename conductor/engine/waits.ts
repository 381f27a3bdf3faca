/**
 * Who waits for an operation's end. This conductor knows at once of ends that it wrote itself; of
 * others it is told by a wake, or asks the rows ten times a second, in one question for all.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface Waits {
  /**
   * True when all of the operations have ended within the time. Ends from before are found by the next
   * question: `lookAt` asks at once.
   */
  waitForEnd(operationIds: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<boolean>;
  /** These have ended: it is on record. */
  ended(operationIds: readonly string[]): void;
  /** These may have ended: their rows tell. */
  lookAt(operationIds: readonly string[]): void;
  stop(): void;
}

interface Waiter {
  left: Set<string>;
  settle: (ended: boolean) => void;
}

const pollMs = 100;

export function createWaits(database: Database, logger: Logger): Waits {
  const waiters = new Map<string, Set<Waiter>>();
  let timer: NodeJS.Timeout | undefined;
  let asking = false;
  /** To be asked for when the question under way is answered. */
  let next = new Set<string>();
  let stopped = false;

  function add(waiter: Waiter): void {
    for (const id of waiter.left) {
      const others = waiters.get(id) ?? new Set();
      others.add(waiter);
      waiters.set(id, others);
    }
    schedule();
  }

  function remove(waiter: Waiter): void {
    for (const id of waiter.left) {
      const others = waiters.get(id);
      others?.delete(waiter);
      if (others?.size === 0) waiters.delete(id);
    }
    if (waiters.size === 0) clearTimeout(timer);
  }

  function schedule(): void {
    clearTimeout(timer);
    if (!stopped && waiters.size > 0) timer = setTimeout(() => void poll(), pollMs);
  }

  async function poll(): Promise<void> {
    await ask([...waiters.keys()]);
    schedule();
  }

  async function ask(ids: readonly string[]): Promise<void> {
    for (const id of ids) next.add(id);
    if (asking) return;
    asking = true;
    while (next.size > 0) {
      const asked = [...next];
      next = new Set();
      try {
        ended(await database.read((manager) => findEnded(manager, asked), { deadlineMs: 0 }));
      } catch (error) {
        logger.debug({ err: error }, 'cannot ask for ends now');
      }
    }
    asking = false;
  }

  function ended(ids: readonly string[]): void {
    for (const id of ids)
      for (const waiter of waiters.get(id) ?? []) {
        waiter.left.delete(id);
        if (waiter.left.size === 0) waiter.settle(true);
        const others = waiters.get(id);
        others?.delete(waiter);
        if (others?.size === 0) waiters.delete(id);
      }
  }

  return {
    ended,
    lookAt: (ids) => void ask(ids.filter((id) => waiters.has(id))),
    async waitForEnd(ids, timeoutMs, signal) {
      if (ids.length === 0) return true;
      if (stopped) return false;
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const waiter: Waiter = { left: new Set(ids), settle: resolve };
      const late = setTimeout(() => resolve(false), timeoutMs);
      const leave = () => resolve(false);
      signal?.addEventListener('abort', leave, { once: true });
      add(waiter);
      try {
        return await promise;
      } finally {
        clearTimeout(late);
        signal?.removeEventListener('abort', leave);
        remove(waiter);
      }
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      for (const others of waiters.values()) for (const waiter of others) waiter.settle(false);
    },
  };
}

async function findEnded(manager: EntityManager, ids: readonly string[]): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT id FROM operations WHERE id IN (?) AND state NOT IN ('preparing', 'active')`,
    [ids],
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}
