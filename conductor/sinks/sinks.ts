/**
 * Delivers readings to sinks. Any number of conductors share the sinks: each sink is worked off by
 * whoever holds its lease, until nothing waits for it. Looked for twice a second, and when woken.
 */
import type { Database } from '../../common/db/database.ts';
import { holdLease, releaseLease, renewLease } from '../../common/db/queries/leases.ts';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { SinkConfig } from '../../common/sinks/config.ts';
import { createNap, type Nap } from '../nap.ts';
import { findSinksWithWork } from './sink-queries.ts';
import { runSink, type SinkObserver, type WorkerSettings } from './worker.ts';

export interface SinksSettings extends WorkerSettings {
  lookEveryMs: number;
  /** Sinks that this process begins to work off at a time; those that wait for their target do not count. */
  atOnce: number;
}

export const defaultSinksSettings: SinksSettings = {
  lookEveryMs: 500,
  atOnce: 100,
  leaseSeconds: 10,
  timeoutMs: 10_000,
  longestTimeoutMs: 60_000,
  retry: { baseMs: 500, capMs: 30_000 },
  maxRetryAfterMs: 300_000,
};

export interface SinksOptions {
  database: Database;
  logger: Logger;
  config: SinkConfig;
  conductorId: string;
  settings?: Partial<SinksSettings>;
  observer?: SinkObserver;
}

export interface Sinks {
  /** These consumers have got something; those that are no sinks do not matter. */
  wake(consumers: readonly string[]): void;
  inFlight(): number;
  /** What is under way has so long to end; the rest is for others. */
  stop(limitMs?: number): Promise<void>;
}

const stopMs = 3000;

interface Worker {
  nap: Nap;
  /** One whose target is away must not keep others from theirs. */
  isResting: boolean;
  done: Promise<void>;
}

export function startSinks(options: SinksOptions): Sinks {
  const { database, logger, conductorId } = options;
  const settings = { ...defaultSinksSettings, ...options.settings };
  const stopping = new AbortController();
  const cut = new AbortController();
  const nap = createNap(stopping.signal);
  const workers = new Map<string, Worker>();
  const countBusy = () => [...workers.values()].filter((each) => !each.isResting).length;

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      nap.beginLook();
      try {
        for (const id of shuffle(await database.read(findSinksWithWork))) {
          if (countBusy() >= settings.atOnce || stopping.signal.aborted) break;
          if (!workers.has(id)) begin(id);
        }
      } catch (error) {
        if (!stopping.signal.aborted) logger.warn({ err: error }, 'cannot look for sinks, will look again');
      }
      if (!nap.isWoken()) await nap.sleep(settings.lookEveryMs * (0.9 + Math.random() * 0.2));
    }
  }

  function begin(sinkId: string): void {
    const worker: Worker = { nap: createNap(stopping.signal), isResting: false, done: Promise.resolve() };
    worker.done = work(sinkId, worker)
      .catch((error: unknown) => {
        if (!stopping.signal.aborted)
          logger.warn({ sink: sinkId, reason: messageOf(error) }, 'the work on a sink ended, others go on');
      })
      .finally(() => workers.delete(sinkId));
    workers.set(sinkId, worker);
  }

  async function work(sinkId: string, worker: Worker): Promise<void> {
    const name = `sink:${sinkId}`;
    const seconds = settings.leaseSeconds;
    const fence = await database.read((manager) => holdLease(manager, name, conductorId, seconds));
    if (fence === undefined) return;
    const lease = { name, owner: conductorId, fence };
    // A failed renewal is no loss yet: the next transaction will tell.
    const timer = setInterval(
      () =>
        void database
          .read((manager) => renewLease(manager, lease, seconds), { deadlineMs: 0 })
          .catch(() => undefined),
      (seconds * 1000) / 3,
    );
    try {
      const { config, observer = {} } = options;
      await runSink({
        ...{ database, logger, config, settings, observer, lease, sinkId },
        nap: worker.nap,
        onRest: (isResting) => {
          worker.isResting = isResting;
        },
        stopping: stopping.signal,
        cut: cut.signal,
      });
    } finally {
      clearInterval(timer);
      await database.read((manager) => releaseLease(manager, name, conductorId), { deadlineMs: 1000 });
    }
  }

  const running = loop();
  return {
    wake(consumers) {
      let isNew = false;
      for (const id of consumers) {
        const worker = workers.get(id);
        if (worker) worker.nap.wake();
        else isNew = true;
      }
      if (isNew) nap.wake();
    },
    inFlight: () => workers.size,
    async stop(limitMs = stopMs) {
      stopping.abort();
      await running;
      const timer = setTimeout(() => cut.abort(), limitMs);
      await Promise.all([...workers.values()].map(({ done }) => done));
      clearTimeout(timer);
    },
  };
}

/** So that no sink is always the last. */
function shuffle(ids: readonly string[]): string[] {
  return [...ids].sort(() => Math.random() - 0.5);
}
