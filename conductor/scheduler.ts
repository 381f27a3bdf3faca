/**
 * Runs each due slot of each task once, however many conductors there are.
 *
 *   waiting     until the slot begins, by the database's clock, plus a little jitter
 *   claiming    one transaction takes the task's lease and writes the slot's row. The slot is done
 *               already: wait for the next. Another holds the lease: it is running there, or that
 *               conductor died; ask again when the lease must have ended, and take the run over
 *   running     the lease is renewed by a timer, and by every write of the task, which begins with
 *               the renewal. The lease is lost (this process stood still, another took over): the
 *               task's signal aborts and its next write is refused
 *   recording   the outcome is written and the lease given back. That a task failed and that this
 *               could not be written are two different things: the second leaves the row open, and
 *               whoever comes next runs the slot again
 *   stopped     drained: the run in progress sees its signal, ends at its next step, and is
 *               recorded as `stopped`, so that another conductor may go on with the slot
 *
 * Slots that passed while nobody ran are not made up for: every task looks at what is there now.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import type { Database, RunOptions } from '../common/db/database.ts';
import { renewLease } from '../common/db/queries/leases.ts';
import { messageOf } from '../common/runtime/app-error.ts';
import type { JsonObject } from '../common/runtime/guards.ts';
import type { Logger } from '../common/runtime/logger.ts';
import { type Claim, claimSlot, finishRun, type TaskLease, type TaskOutcome } from './task-runs.ts';

export interface TaskContext {
  database: Database;
  logger: Logger;
  /** Aborts when the process stops or the lease is lost; a task looks at it between steps. */
  signal: AbortSignal;
  /** A transaction that only the holder of the task's lease can commit. May run again from the start. */
  write<T>(work: (manager: EntityManager) => Promise<T>, options?: RunOptions): Promise<T>;
}

export interface Task {
  name: string;
  everyMs: number;
  /** How long a dead conductor's run is left alone; default 15. */
  leaseSeconds?: number;
  /** Answers with what it did, for the row of the run. */
  run(context: TaskContext): Promise<JsonObject>;
}

export interface SchedulerOptions {
  database: Database;
  logger: Logger;
  conductorId: string;
  tasks: readonly Task[];
  onRun?: (run: { task: string; outcome: TaskOutcome | 'lost'; seconds: number }) => void;
}

export interface Scheduler {
  /** Ends the loops and waits for the runs in progress. */
  stop(): Promise<void>;
}

const defaultLeaseSeconds = 15;
const retryFailedAfterMs = 30_000;
const maxJitterMs = 1000;
const recordDeadlineMs = 5000;

export function startScheduler(options: SchedulerOptions): Scheduler {
  const stopping = new AbortController();
  const loops = options.tasks.map((task) => runLoop(options, task, stopping.signal));
  return {
    async stop() {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}

async function runLoop(options: SchedulerOptions, task: Task, stopping: AbortSignal): Promise<void> {
  const logger = options.logger.child({ task: task.name });
  // Rejects only when stopped, which the loops' conditions see.
  const pause = (delayMs: number) => sleep(delayMs, undefined, { signal: stopping }).catch(() => undefined);
  let away = false;
  await pause(jitterMs(task));
  while (!stopping.aborted) {
    let delayMs = task.everyMs;
    try {
      const claim = await askForSlot(options, task);
      if (away) logger.info({}, 'slots can be claimed again');
      away = false;
      delayMs = claim.nextInMs;
      if (claim.state === 'claimed') {
        const startedAt = performance.now();
        await runClaimed(options, task, logger, claim, stopping);
        delayMs -= performance.now() - startedAt;
      }
      // What is held or failed is asked for again within the slot.
      delayMs = Math.min(delayMs, claim.state === 'held' ? leaseMs(task) / 2 : retryFailedAfterMs);
    } catch (error) {
      // Nobody has to act: the database is away, or two claims met; the slot is asked for again.
      if (!away) logger.warn({ err: error }, 'cannot claim a slot, will go on trying');
      away = true;
      delayMs = Math.min(task.everyMs, 1000);
    }
    await pause(Math.max(0, delayMs) + jitterMs(task));
  }
}

const leaseMs = (task: Task) => (task.leaseSeconds ?? defaultLeaseSeconds) * 1000;
const jitterMs = (task: Task) => Math.random() * Math.min(maxJitterMs, task.everyMs / 10);

function askForSlot(options: SchedulerOptions, task: Task): Promise<Claim> {
  const request = {
    task: task.name,
    everyMs: task.everyMs,
    leaseSeconds: leaseMs(task) / 1000,
    conductorId: options.conductorId,
    retryAfterMs: retryFailedAfterMs,
  };
  return options.database.transaction((manager) => claimSlot(manager, request), { deadlineMs: 2000 });
}

async function runClaimed(
  options: SchedulerOptions,
  task: Task,
  logger: Logger,
  claim: Extract<Claim, { state: 'claimed' }>,
  stopping: AbortSignal,
): Promise<void> {
  const { database } = options;
  const guard = guardLease(database, claim.lease, task, stopping);
  const startedAt = performance.now();
  let outcome: TaskOutcome = 'done';
  let detail: JsonObject;
  try {
    detail = await task.run({ database, logger, signal: guard.signal, write: guard.write });
  } catch (error) {
    outcome = stopping.aborted ? 'stopped' : 'failed';
    detail = { error: messageOf(error).slice(0, 500) };
    if (outcome === 'failed' && !guard.isLost()) logger.warn({ err: error }, 'task failed, will run again');
  } finally {
    guard.end();
  }
  const seconds = (performance.now() - startedAt) / 1000;
  try {
    const run = { task: task.name, slotAt: claim.slotAt, lease: claim.lease };
    const recorded = await database.transaction((manager) => finishRun(manager, run, outcome, detail), {
      repeatable: true,
      deadlineMs: recordDeadlineMs,
    });
    if (!recorded)
      logger.warn({ seconds }, 'the lease was lost while the task ran; another conductor goes on');
    options.onRun?.({ task: task.name, outcome: recorded ? outcome : 'lost', seconds });
  } catch (error) {
    logger.warn({ err: error, outcome }, 'could not record the outcome, the slot will be run again');
    options.onRun?.({ task: task.name, outcome: 'lost', seconds });
  }
}

/** The lease of a running task: renewed by time, checked by every write. */
function guardLease(database: Database, lease: TaskLease, task: Task, stopping: AbortSignal) {
  const lost = new AbortController();
  const signal = AbortSignal.any([lost.signal, stopping]);
  const seconds = leaseMs(task) / 1000;

  async function renew(manager: EntityManager): Promise<void> {
    if (await renewLease(manager, lease, seconds)) return;
    lost.abort(new Error('the lease was taken by another conductor'));
    lost.signal.throwIfAborted();
  }

  let renewing = false;
  const timer = setInterval(async () => {
    if (renewing) return;
    renewing = true;
    // A failed renewal is no loss yet; the next one, or the next write, will tell.
    await database.read(renew, { deadlineMs: 0 }).catch(() => undefined);
    renewing = false;
  }, leaseMs(task) / 3);
  return {
    signal,
    isLost: () => lost.signal.aborted,
    write<T>(work: (manager: EntityManager) => Promise<T>, run: RunOptions = {}): Promise<T> {
      signal.throwIfAborted();
      return database.transaction(async (manager) => {
        await renew(manager);
        return work(manager);
      }, run);
    },
    end: () => clearInterval(timer),
  };
}
