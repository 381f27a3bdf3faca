/**
 * Makes the operations of schedules at their due times. Any number of conductors may do this at once:
 * each step is taken by one of them (fire.ts).
 */
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { nextStep } from '../../common/operations/schedule-steps.ts';
import { nextDue } from '../../common/operations/schedule-times.ts';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';
import { type Budget, createBudget } from '../tasks/chunks.ts';
import { type StepOutcome, takeStep } from './fire.ts';
import {
  advanceSchedule,
  type DueSchedule,
  findDueSchedules,
  insertRun,
  pauseBroken,
} from './schedule-queries.ts';

export interface ScheduleRules {
  quotas: QuotaLimits;
  /** Told of operations that were made, so that nobody waits for the next look at them. */
  onOperations: (operationIds: readonly string[]) => void;
  onStep?: (outcome: StepOutcome) => void;
}

const runMs = 10_000;
const schedulesAtOnce = 100;

export async function runSchedules(context: TaskContext, rules: ScheduleRules): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const now = await context.database.read(getDatabaseTime);
  const counts: Partial<Record<StepOutcome | 'ended' | 'broken', number>> = {};
  const count = (what: keyof typeof counts): void => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  let complete = false;
  while (!complete && !budget.spent()) {
    const due = await context.database.read((manager) => findDueSchedules(manager, now, schedulesAtOnce));
    let hasMoved = false;
    for (const schedule of due) {
      if (budget.spent()) break;
      try {
        if (schedule.offline) hasMoved = (await endOffline(context, schedule, count)) || hasMoved;
        else hasMoved = (await walk(context, schedule, { ...rules, now, budget, count })) || hasMoved;
      } catch (error) {
        if (error instanceof AppError && error.code === 'unavailable') throw error;
        // A fault of ours in one schedule must not keep the others from running.
        context.signal.throwIfAborted();
        context.logger.error({ err: error, schedule: schedule.id }, 'a due time of a schedule was given up');
        count('broken');
        hasMoved = (await giveUp(context, schedule, now, messageOf(error))) || hasMoved;
      }
    }
    // When nothing moves, others are at it.
    complete = due.length < schedulesAtOnce || !hasMoved;
  }
  return { ...counts, complete };
}

interface Walk extends ScheduleRules {
  now: number;
  budget: Budget;
  count: (outcome: StepOutcome) => void;
}

/** Step by step until nothing is due any more; what is left when the time is over stays due. */
async function walk(context: TaskContext, schedule: DueSchedule, run: Walk): Promise<boolean> {
  let hasMoved = false;
  for (let current = schedule; ; ) {
    const step = nextStep(current.timing, current.catchUp, current.nextAt.getTime(), run.now);
    if (!step) return hasMoved;
    const taken = await takeStep(context, current, step, run);
    if (!taken) return hasMoved;
    hasMoved = true;
    run.count(taken.outcome);
    run.onStep?.(taken.outcome);
    if (taken.operations.length > 0) run.onOperations(taken.operations);
    if (step.nextAt === undefined || run.budget.spent()) return hasMoved;
    const { error = current.lastError } = taken;
    current = { ...current, nextAt: new Date(step.nextAt), lastError: error };
  }
}

/** One that its boards ran by themselves, once: its time is over. */
async function endOffline(
  context: TaskContext,
  schedule: DueSchedule,
  count: (what: 'ended') => void,
): Promise<boolean> {
  const { timing } = schedule;
  const dueAt = timing.kind === 'once' ? { dueAt: timing.at } : {};
  const ended = await context.write((manager) =>
    advanceSchedule(manager, schedule, { nextAt: undefined, ...dueAt }),
  );
  if (ended) count('ended');
  return ended;
}

/** The due time is left out; a timing that cannot even be read any more pauses its schedule. */
async function giveUp(
  context: TaskContext,
  schedule: DueSchedule,
  now: number,
  reason: string,
): Promise<boolean> {
  let nextAt: number | undefined;
  try {
    nextAt = nextDue(schedule.timing, now);
  } catch (error) {
    context.logger.error({ err: error, schedule: schedule.id }, 'a schedule cannot be read, it is paused');
    return context.write((manager) => pauseBroken(manager, schedule, messageOf(error)));
  }
  const dueAt = schedule.nextAt.getTime();
  return context.write(async (manager) => {
    if (!(await advanceSchedule(manager, schedule, { nextAt, dueAt, error: reason }))) return false;
    const detail = `internal: ${reason}`;
    await insertRun(manager, {
      scheduleId: schedule.id,
      dueAt,
      operationId: null,
      outcome: 'failed',
      detail,
    });
    return true;
  });
}
