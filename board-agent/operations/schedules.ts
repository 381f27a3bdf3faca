/**
 * Schedules that the board runs by itself, with or without a link. A due time becomes an operation
 * whose id follows from the schedule and the time, so that it is one operation however often it is
 * met, here and at the server.
 *
 * `firedUntil` of a schedule moves on in the same transaction as the entry that was made for it. What
 * lies before it is done with, whatever the clock says: a jump forward costs at most what `catchUp`
 * allows, a jump back fires nothing twice.
 */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import {
  type BoardSchedule,
  onTimeMs,
  parseBoardSchedules,
  scheduledOperationId,
} from '../../common/wamp/board-schedules.ts';
import type { Clock } from '../clock.ts';
import type { Registry } from '../procedures/registry.ts';
import type { ServerClock } from '../server-clock.ts';
import type { Journal } from './journal.ts';
import type { StoredSchedule } from './journal-file.ts';
import type { Queue } from './queue.ts';

/** Loaded when there are schedules: most boards have none, and it takes memory. */
type Times = typeof import('../../common/operations/schedule-times.ts');

export interface SchedulesOptions {
  journal: Journal;
  queue: Queue;
  registry: Registry;
  clock: Clock;
  serverClock: ServerClock;
  logger: Logger;
  random?: () => number;
}

export interface Schedules {
  /** `operation.schedules`: these and no others. Throws AppError. */
  replace(kwargs: unknown): Promise<{ stored: number }>;
  start(): Promise<void>;
  /** The server's clock has become known. */
  revise(): void;
  stop(): void;
  count(): number;
}

export const scheduleLimits = {
  /** Runs of one schedule that wait for one another. */
  waiting: 100,
  /** The journal could not take it: tried again. */
  retryMs: 2000,
} as const;

export function createSchedules(options: SchedulesOptions): Schedules {
  const { journal, queue, registry, clock, serverClock, logger, random = Math.random } = options;
  let entries: StoredSchedule[] = [];
  let times: Times | undefined;
  let cancelTimer = () => {};
  let stopped = false;

  async function load(): Promise<Times> {
    times ??= await import('../../common/operations/schedule-times.ts');
    return times;
  }

  async function take(): Promise<void> {
    entries = journal.schedules();
    if (entries.length > 0) await load();
    tick();
  }

  async function replace(kwargs: unknown): Promise<{ stored: number }> {
    const schedules = parseBoardSchedules(kwargs);
    if (schedules.length > 0) checkTimings(schedules, await load());
    if (!journal.replaceSchedules(schedules))
      throw new AppError('unavailable', 'the journal of this board cannot be written');
    await take();
    return { stored: schedules.length };
  }

  /** Fires what is due and waits for what comes next. */
  function tick(): void {
    cancelTimer();
    if (stopped || !times) return;
    const { nextDue } = times;
    const now = serverClock.now();
    let taken = true;
    for (const entry of entries) taken = fireDue(entry, now, times) && taken;
    if (!taken) {
      cancelTimer = clock.after(scheduleLimits.retryMs, tick);
      return;
    }
    const next = entries.flatMap(({ schedule, firedUntil }) => nextDue(schedule.timing, firedUntil) ?? []);
    if (next.length > 0) cancelTimer = serverClock.at(Math.min(...next), tick);
  }

  /** False = the journal cannot take it now. */
  function fireDue(entry: StoredSchedule, now: number, { listDue }: Times): boolean {
    const { schedule, firedUntil } = entry;
    const { mode, limit } = schedule.catchUp;
    const { due } = listDue(schedule.timing, firedUntil, now, mode === 'all' ? limit : 1);
    const last = due.at(-1);
    if (last === undefined) return true;
    const missed = mode === 'none' && now - last > onTimeMs;
    if (missed || !makeWay(schedule)) {
      advance(entry, last);
      return true;
    }
    // Several at once are made up for one after the other, whatever `overlap` says: that is about runs
    // that were there before.
    return due.every((dueAt) => fire(entry, dueAt));
  }

  /** Applies `overlap`. False = the run that was there before goes on, and nothing is begun. */
  function makeWay({ scheduleId, overlap }: BoardSchedule): boolean {
    const before = queue.ofSchedule(scheduleId);
    if (before.length === 0) return true;
    if (overlap === 'cancel-previous') {
      for (const { entry } of before) queue.cancel(entry.operationId);
      return true;
    }
    if (overlap === 'queue' && before.length < scheduleLimits.waiting) return true;
    logger.info({ scheduleId, running: before.length }, 'a due time was skipped: the run before goes on');
    return false;
  }

  function fire(entry: StoredSchedule, dueAt: number): boolean {
    const { schedule, firedUntil } = entry;
    const { scheduleId, procedure, kwargs, deadlineSeconds, jitterSeconds } = schedule;
    const operationId = scheduledOperationId(scheduleId, dueAt);
    const now = serverClock.now();
    // What is made up for has its time from now on, as on the server: it would be over otherwise.
    const startsAt = now - dueAt > onTimeMs ? now : dueAt;
    try {
      advance(entry, dueAt);
      if (journal.find(operationId)) return true;
      const taken = queue.accept({
        ...{ operationId, attempt: 1, procedure, kwargs },
        safety: registry.find(procedure)?.contract.safety ?? 'at-most-once',
        deadlineAt: startsAt + deadlineSeconds * 1000,
        state: 'accepted',
        runs: 0,
        acknowledged: false,
        schedule: { scheduleId, dueAt },
        ...(jitterSeconds > 0 && { notBefore: startsAt + Math.floor(random() * jitterSeconds * 1000) }),
      });
      if (taken) return true;
    } catch (error) {
      logger.warn({ scheduleId, reason: messageOf(error) }, 'a due time has to wait');
    }
    advance(entry, firedUntil);
    return false;
  }

  function advance(entry: StoredSchedule, until: number): void {
    entry.firedUntil = until;
    journal.noteFired(entry.schedule.scheduleId, until);
  }

  return {
    replace,
    async start() {
      try {
        await take();
      } catch (error) {
        logger.error({ err: error }, 'the schedules of this board cannot be run');
      }
    },
    revise() {
      const now = serverClock.now();
      // A clock that was ahead has fired what is still to come. The journal knows what it made then.
      for (const entry of entries)
        if (entry.firedUntil > now + onTimeMs) advance(entry, Math.max(now, entry.schedule.after));
      tick();
    },
    stop() {
      stopped = true;
      cancelTimer();
    },
    count: () => entries.length,
  };
}

/** Throws AppError `invalid-arguments` for a cron or zone that this board does not know. */
function checkTimings(schedules: readonly BoardSchedule[], { nextDue }: Times): void {
  for (const [index, { timing, after }] of schedules.entries()) {
    try {
      nextDue(timing, after);
    } catch (error) {
      throw new AppError('invalid-arguments', `schedules[${index}].timing: ${messageOf(error)}`, {
        cause: error,
        details: { field: `schedules[${index}].timing` },
      });
    }
  }
}
