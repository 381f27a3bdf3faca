/**
 * One step of a schedule, in one transaction: it goes on to its next due time, and what became of this
 * one is on record, with the operation that it made. The row of the schedule keeps other conductors
 * out; the row of the run is there once per due time whatever happens.
 */
import type { EntityManager } from 'typeorm';
import { requireAuthority } from '../../common/db/queries/authority.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { insertOperation } from '../../common/db/queries/operation-creation.ts';
import { resolveTargets, type TargetChoice } from '../../common/db/queries/operation-targets.ts';
import { readQuotaLimits, takeOperationPlace } from '../../common/db/queries/quotas.ts';
import { requireTargets } from '../../common/db/queries/require-targets.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import type { ScheduleStep } from '../../common/operations/schedule-steps.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { scheduledOperationId } from '../../common/wamp/board-schedules.ts';
import type { TaskContext } from '../scheduler.ts';
import { cancelPrevious } from './cancel-previous.ts';
import {
  advanceSchedule,
  auditRefusal,
  type DueSchedule,
  deedOf,
  findOpenOperations,
  findRemainingBoards,
  insertRun,
  markSkipped,
} from './schedule-queries.ts';

export type StepOutcome = 'created' | 'skipped' | 'missed' | 'failed' | 'known';

export interface TakenStep {
  outcome: StepOutcome;
  /** Operations that were made or changed. */
  operations: string[];
  /** Why it made none; null = it did. Left out where that is not said of the schedule. */
  error?: string | null;
}

type Fire = Extract<ScheduleStep, { kind: 'fire' }>;

/** undefined = another conductor took it, or the schedule was changed meanwhile. */
export async function takeStep(
  context: TaskContext,
  schedule: DueSchedule,
  step: ScheduleStep,
  rules: { now: number; quotas: QuotaLimits },
): Promise<TakenStep | undefined> {
  if (step.kind === 'miss') return context.write((manager) => miss(manager, schedule, step));
  const cancels = schedule.overlap === 'cancel-previous';
  try {
    const limits = await context.database.read(async (manager) => {
      // That is the author's doing as well.
      if (cancels) await requireAuthority(manager, deedOf(schedule));
      return readQuotaLimits(manager, schedule.tenantId, rules.quotas);
    });
    const cancelled = cancels ? await cancelPrevious(context, schedule, step) : [];
    const taken = await context.write((manager) => fire(manager, schedule, step, { now: rules.now, limits }));
    return taken && { ...taken, operations: [...cancelled, ...taken.operations] };
  } catch (error) {
    // No boards, a quota, an author who may not any more: it is on record, and the next due time may do better.
    if (!(error instanceof AppError) || error.code === 'unavailable') throw error;
    context.logger.debug({ schedule: schedule.id, reason: error.message }, 'a due time made no operation');
    return context.write((manager) => fail(manager, schedule, step, error));
  }
}

async function fire(
  manager: EntityManager,
  schedule: DueSchedule,
  step: Fire,
  { now, limits }: { now: number; limits: QuotaLimits },
): Promise<TakenStep | undefined> {
  const { tenantId, operation } = schedule;
  const { dueAt, nextAt } = step;
  if (!(await advanceSchedule(manager, schedule, { nextAt, dueAt, error: null }))) return undefined;
  const id = scheduledOperationId(schedule.id, dueAt);
  const run = {
    scheduleId: schedule.id,
    dueAt,
    operationId: id,
    outcome: 'created',
    detail: lateness(step, now),
  } as const;
  if (!(await insertRun(manager, run))) return { outcome: 'known', operations: [] };

  if (schedule.overlap === 'skip') {
    const [open] = await findOpenOperations(manager, schedule.id, step);
    if (open !== undefined) {
      await markSkipped(manager, run, `the operation ${open} had not ended`);
      return { outcome: 'skipped', operations: [] };
    }
  }
  await takeOperationPlace(manager, tenantId, limits);
  const { procedure, kwargs } = operation;
  const target = await remainingTarget(manager, schedule);
  const { boards: scopeBoards } = await requireAuthority(manager, deedOf(schedule));
  const resolved = await resolveTargets(manager, { tenantId, target, scopeBoards, procedure, kwargs });
  requireTargets(resolved, { procedure });
  // What is made up for has its time from now on: it would be over otherwise.
  const startsAt = step.isLate ? now : dueAt;
  const jitterMs = Math.floor(Math.random() * schedule.jitterSeconds * 1000);
  const { events } = await insertOperation(manager, {
    ...operation,
    id,
    tenantId,
    boards: resolved.included,
    notBefore: jitterMs === 0 ? null : new Date(startsAt + jitterMs),
    deadlineAt: new Date(startsAt + operation.deadlineSeconds * 1000),
    createdBy: `schedule:${schedule.id}`,
    scheduleId: schedule.id,
    dueAt: new Date(dueAt),
    evidence: { schedule: schedule.id, author: schedule.author, excluded: resolved.excluded.length },
  });
  await appendEvents(manager, events);
  return { outcome: 'created', operations: [id], error: null };
}

/** Named boards that were deleted since do not keep the others from theirs. */
async function remainingTarget(
  manager: EntityManager,
  { tenantId, operation: { target } }: DueSchedule,
): Promise<TargetChoice> {
  if (!target.boards) return target;
  const boards = await findRemainingBoards(manager, tenantId, target.boards);
  if (boards.length === 0) throw new AppError('board-not-found', 'none of its boards exists any more');
  return { boards };
}

function lateness({ isLate, dueAt }: Fire, now: number): string | null {
  return isLate ? `made up for, ${Math.round((now - dueAt) / 1000)} s late` : null;
}

async function fail(
  manager: EntityManager,
  schedule: DueSchedule,
  { dueAt, nextAt }: Fire,
  error: AppError,
): Promise<TakenStep | undefined> {
  if (!(await advanceSchedule(manager, schedule, { nextAt, dueAt, error: error.message }))) return undefined;
  const detail = `${error.code}: ${error.message}`;
  const run = { scheduleId: schedule.id, dueAt, operationId: null, outcome: 'failed', detail } as const;
  const isFirst = await insertRun(manager, run);
  if (isFirst) await auditRefusal(manager, schedule, error);
  return { outcome: isFirst ? 'failed' : 'known', operations: [], error: error.message };
}

async function miss(
  manager: EntityManager,
  schedule: DueSchedule,
  { firstAt, dueAt, count, nextAt }: Extract<ScheduleStep, { kind: 'miss' }>,
): Promise<TakenStep | undefined> {
  if (!(await advanceSchedule(manager, schedule, { nextAt }))) return undefined;
  const detail =
    count === 1
      ? 'nobody was there to do it in time'
      : `nobody was there in time; ${count} due times since ${new Date(firstAt).toISOString()}`;
  await insertRun(manager, { scheduleId: schedule.id, dueAt, operationId: null, outcome: 'missed', detail });
  return { outcome: 'missed', operations: [] };
}
