/**
 * Follows the `events` table once for all listeners of this process.
 *
 *   idle      nobody listens: no reads.
 *   starting  the first listener came: one read marks what is there as had.
 *   running   a read every 200 ms; new rows go to every listener. A failed read changes nothing: the
 *             next one starts where the last good one ended.
 */
import type { Database } from '../../common/db/database.ts';
import { every, type RepeatingTask } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { type EventRecord, readEvents, readStamps } from './event-rows.ts';
import { createEventWindow, type EventStamp } from './event-window.ts';

export interface EventTail {
  /** `ready` resolves at the first read from which on nothing is missed. */
  listen(take: (event: EventRecord) => void): { ready: Promise<void>; stop(): void };
  /** Epoch milliseconds by the database's clock: all before is sent, but for rows that commit late. */
  servedUntil(): number | undefined;
  stop(): Promise<void>;
}

export interface EventTailOptions {
  database: Database;
  logger: Logger;
  pollMs?: number;
}

/** Rows fetched by one statement. */
const chunk = 500;

export function createEventTail({ database, logger, pollMs = 200 }: EventTailOptions): EventTail {
  const listeners = new Set<(event: EventRecord) => void>();
  let run:
    | { task: RepeatingTask; started: PromiseWithResolvers<void>; servedUntil(): number | undefined }
    | undefined;

  function start(): NonNullable<typeof run> {
    const window = createEventWindow();
    const started = Promise.withResolvers<void>();
    const task = every({ name: 'event tail', intervalMs: pollMs, logger }, async (signal) => {
      const isFirst = window.readAt === undefined;
      const { now, stamps } = await database.read((manager) => readStamps(manager, window.since), { signal });
      const fresh = window.fresh(stamps);
      if (isFirst) window.markHad(fresh);
      else {
        for (let from = 0; from < fresh.length; from += chunk) {
          const part = fresh.slice(from, from + chunk);
          await send(part, signal);
          window.markHad(part);
        }
      }
      window.complete(now);
      started.resolve();
    });
    return { task, started, servedUntil: () => window.readAt };
  }

  async function send(stamps: readonly EventStamp[], signal: AbortSignal): Promise<void> {
    const ids = stamps.map(({ id }) => id);
    const events = await database.read((manager) => readEvents(manager, ids), { signal });
    for (const event of events) for (const take of listeners) take(event);
  }

  async function end(): Promise<void> {
    const ending = run;
    run = undefined;
    await ending?.task.stop();
    // Whoever still waits for it has been told to stop as well.
    ending?.started.resolve();
  }

  return {
    listen(take) {
      listeners.add(take);
      run ??= start();
      return {
        ready: run.started.promise,
        stop() {
          listeners.delete(take);
          if (listeners.size === 0) void end();
        },
      };
    },
    servedUntil: () => run?.servedUntil(),
    stop: end,
  };
}
