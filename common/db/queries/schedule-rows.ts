/** Rows of `schedules` with their JSON read: what the api writes, and the conductor goes by. */
import type { DailyWindow } from '../../operations/window.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import type { ScheduleCatchUp, ScheduleOverlap, ScheduleTiming } from '../../wamp/board-schedules.ts';
import { fromJsonColumn } from '../json-column.ts';
import type { TargetChoice } from './operation-targets.ts';

/** `schedules.operation`: what each due time makes. Boards are uuids in it, and the fleet its id. */
export interface ScheduledOperation {
  procedure: string;
  kwargs: JsonObject;
  target: TargetChoice;
  delivery: 'now' | 'when-online' | 'window';
  window: DailyWindow | null;
  deadlineSeconds: number;
  attempts: number;
  parallel: boolean;
}

export type ScheduleState = 'active' | 'paused' | 'ended';

export interface ScheduleRow {
  id: string;
  tenantId: string;
  name: string;
  state: ScheduleState;
  timing: ScheduleTiming;
  jitterSeconds: number;
  overlap: ScheduleOverlap;
  catchUp: ScheduleCatchUp;
  offline: boolean;
  operation: ScheduledOperation;
  nextAt: Date | null;
  lastDueAt: Date | null;
  lastError: string | null;
  createdBy: string;
  author: string | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const scheduleColumns = `id, tenant_id AS tenantId, name, state, timing, jitter_seconds AS jitterSeconds, overlap,
  catch_up AS catchUpMode, catch_up_limit AS catchUpLimit, offline, operation, next_at AS nextAt,
  last_due_at AS lastDueAt, last_error AS lastError, created_by AS createdBy, author, version, created_at AS createdAt,
  updated_at AS updatedAt`;

/** As the database gives it. */
export interface RawScheduleRow extends Omit<ScheduleRow, 'timing' | 'operation' | 'catchUp' | 'offline'> {
  timing: unknown;
  operation: unknown;
  catchUpMode: ScheduleCatchUp['mode'];
  catchUpLimit: number;
  offline: number;
}

export function toScheduleRow(row: RawScheduleRow): ScheduleRow {
  const { catchUpMode, catchUpLimit, offline, timing, operation, ...rest } = row;
  return {
    ...rest,
    timing: fromJsonColumn(timing),
    operation: fromJsonColumn(operation),
    catchUp: { mode: catchUpMode, limit: catchUpLimit },
    offline: offline === 1,
  };
}

/**
 * When the conductor has to look at an active schedule; null = not at all. Offline ones are their
 * boards' to run: of those that run once it notes the end.
 */
export function nextLookAt(
  schedule: Pick<ScheduleRow, 'offline' | 'timing' | 'jitterSeconds' | 'operation'>,
  nextDueAt: number | undefined,
): Date | null {
  const { offline, timing, jitterSeconds, operation } = schedule;
  if (!offline) return nextDueAt === undefined ? null : new Date(nextDueAt);
  if (timing.kind !== 'once') return null;
  return new Date(timing.at + (jitterSeconds + operation.deadlineSeconds) * 1000);
}
