/** What a change makes of a schedule. Pure. */
import {
  nextLookAt,
  type ScheduledOperation,
  type ScheduleRow,
} from '../../common/db/queries/schedule-rows.ts';
import { nextDue } from '../../common/operations/schedule-times.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { ScheduleTiming } from '../../common/wamp/board-schedules.ts';
import type { Schemas } from '../http/operation.ts';
import { checkJitter, checkOffline, shifted } from './schedule-request.ts';
import type { ScheduleValues } from './schedule-rows.ts';

/** Of a creation or a change, parsed; what is left out stays. */
export interface ScheduleFields
  extends Pick<
    Schemas['ScheduleUpdate'],
    'name' | 'jitterSeconds' | 'overlap' | 'catchUp' | 'catchUpLimit' | 'offline'
  > {
  timing?: ScheduleTiming;
  operation?: ScheduledOperation;
}

type Kept = Pick<
  ScheduleRow,
  'name' | 'state' | 'timing' | 'jitterSeconds' | 'overlap' | 'catchUp' | 'offline' | 'operation' | 'nextAt'
>;

export function newSchedule(
  fields: ScheduleFields & { name: string; timing: ScheduleTiming; operation: ScheduledOperation },
  now: number,
): ScheduleValues {
  const fresh: Kept = {
    name: fields.name,
    state: 'active',
    timing: fields.timing,
    operation: fields.operation,
    jitterSeconds: 0,
    overlap: 'skip',
    catchUp: { mode: 'last', limit: 10 },
    offline: false,
    nextAt: null,
  };
  return changedSchedule(fresh, fields, now);
}

/** Due times are counted anew from `now`. One that had ended begins again with a new timing. */
export function changedSchedule(row: Kept, fields: ScheduleFields, now: number): ScheduleValues {
  const values = {
    name: fields.name ?? row.name,
    timing: fields.timing ?? row.timing,
    operation: fields.operation ?? row.operation,
    jitterSeconds: fields.jitterSeconds ?? row.jitterSeconds,
    overlap: fields.overlap ?? row.overlap,
    catchUp: {
      mode: fields.catchUp ?? row.catchUp.mode,
      limit: fields.catchUpLimit ?? row.catchUp.limit,
    },
    offline: fields.offline ?? row.offline,
  };
  if (values.offline) checkOffline(values.operation);
  checkJitter(values);
  const state = row.state === 'ended' && fields.timing !== undefined ? 'active' : row.state;
  if (state !== 'active') return { ...values, state, nextAt: null };
  const dueAt = nextDue(values.timing, now);
  // One that is due this very moment stays so.
  const nextAt = dueAt === undefined && !values.offline ? row.nextAt : nextLookAt(values, dueAt);
  const isOver = dueAt === undefined && nextAt === null;
  return { ...values, state: isOver ? 'ended' : 'active', nextAt };
}

export function pausedSchedule(row: ScheduleRow): ScheduleValues {
  if (row.state === 'ended') throw new AppError('conflict', 'the schedule has ended');
  return { ...row, state: 'paused', nextAt: null };
}

/** What fell into the pause is not made up for. */
export function resumedSchedule(row: ScheduleRow, now: number): ScheduleValues {
  if (row.state === 'ended') throw new AppError('conflict', 'the schedule has ended');
  const dueAt = nextDue(row.timing, now);
  if (dueAt === undefined) throw new AppError('conflict', 'its time has passed; give it a new one');
  return { ...row, state: 'active', nextAt: nextLookAt(row, dueAt) };
}

/** Runs work on a schedule's operation, whose faults name places below `/operation`. */
export async function inOperation<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw shifted(error, '/operation');
  }
}
