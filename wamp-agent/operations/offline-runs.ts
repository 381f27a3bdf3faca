/**
 * Operations that boards made by themselves: a due time of an offline schedule that came while they
 * were away, told with its report. The id is a function of schedule and due time, so that a conductor
 * and any number of boards make one operation of it. Everything is inserted only where it is missing.
 */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { NewEvent } from '../../common/db/queries/events.ts';
import type { TargetKey } from '../../common/db/queries/operation-changes.ts';
import { findSafety } from '../../common/db/queries/operation-creation.ts';
import { insertOperationEvents } from '../../common/db/queries/operation-events.ts';
import { nextDue } from '../../common/operations/schedule-times.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { parseTiming, scheduledOperationId } from '../../common/wamp/board-schedules.ts';
import type { OperationReport } from '../../common/wamp/operations.ts';

export interface OfflineRun extends TargetKey {
  tenantId: string;
  scheduleId: string;
  /** Epoch milliseconds. */
  dueAt: number;
}

interface ScheduleRow {
  id: string;
  tenantId: string;
  /** Body of the operations that it makes. */
  operation: JsonObject | string;
  timing: JsonObject | string;
  offline: number;
  createdAt: Date;
}

/** Clocks of boards, corrected by the server's, are not further off than this. */
const clockMarginMs = 86_400_000;

export function offlineRunOf(
  board: { uuid: string; tenantId: string },
  report: OperationReport,
): OfflineRun | undefined {
  const { schedule, operationId } = report;
  return schedule && { boardUuid: board.uuid, tenantId: board.tenantId, operationId, ...schedule };
}

/** Whether a board may tell one more due time that its schedule does not have. */
export type MayTell = (boardUuid: string) => boolean;

export interface InsertedRuns {
  /** Those that have a target now; the others name no schedule of their tenant. */
  known: OfflineRun[];
  /** Not taken now: of due times that their schedule does not have, and too many of them. */
  tooMany: OfflineRun[];
  /** To be given to appendEvents as the last statement of the transaction. */
  events: NewEvent[];
}

export async function insertOfflineRuns(
  manager: EntityManager,
  runs: readonly OfflineRun[],
  mayTell: MayTell,
): Promise<InsertedRuns> {
  if (runs.length === 0) return { known: [], tooMany: [], events: [] };
  const schedules = await findSchedules(manager, [...new Set(runs.map((each) => each.scheduleId))]);
  const known: OfflineRun[] = [];
  const tooMany: OfflineRun[] = [];
  const events: NewEvent[] = [];
  for (const run of runs) {
    const schedule = schedules.get(run.scheduleId);
    if (!schedule || !isOf(run, schedule)) continue;
    if (!isDue(run, schedule) && !mayTell(run.boardUuid)) {
      tooMany.push(run);
      continue;
    }
    if (await insertRun(manager, run, schedule)) events.push(createdEvent(run));
    known.push(run);
  }
  return { known, tooMany, events };
}

async function findSchedules(
  manager: EntityManager,
  ids: readonly string[],
): Promise<Map<string, ScheduleRow>> {
  const rows = (await manager.query(
    `SELECT id, tenant_id AS tenantId, operation, timing, offline, created_at AS createdAt FROM schedules WHERE id IN (?)`,
    [ids],
  )) as ScheduleRow[];
  return new Map(rows.map((row) => [row.id, row]));
}

/** A board may only speak for schedules of its tenant, and for times within their life. */
function isOf({ tenantId, scheduleId, operationId, dueAt }: OfflineRun, schedule: ScheduleRow): boolean {
  return (
    schedule.tenantId === tenantId &&
    operationId === scheduledOperationId(scheduleId, dueAt) &&
    dueAt >= schedule.createdAt.getTime() - clockMarginMs &&
    dueAt <= Date.now() + clockMarginMs
  );
}

/**
 * Whether the schedule, as it is now, has this due time. What a board ran by an older version of it, away
 * from the server, has happened all the same; but a board that invents times has no end of them.
 */
function isDue({ dueAt }: OfflineRun, { timing, offline }: ScheduleRow): boolean {
  if (offline !== 1) return false;
  try {
    return nextDue(parseTiming(fromJsonColumn(timing), 'timing'), dueAt - 1) === dueAt;
  } catch {
    // A timing that nobody can read has no times.
    return false;
  }
}

/** True when it made the operation. */
async function insertRun(manager: EntityManager, run: OfflineRun, schedule: ScheduleRow): Promise<boolean> {
  const { operationId, boardUuid, tenantId, scheduleId } = run;
  const body = parseBody(schedule.operation);
  const dueAt = new Date(run.dueAt);
  const deadlineAt = new Date(run.dueAt + body.deadlineSeconds * 1000);
  const createdBy = `schedule:${scheduleId}`;
  const isFirst = (await manager.query(
    `INSERT IGNORE INTO schedule_runs (schedule_id, due_at, operation_id, outcome, at)
     VALUES (?, ?, ?, 'ran-offline', UTC_TIMESTAMP(3))`,
    [scheduleId, dueAt, operationId],
  )) as { affectedRows: number };
  if (isFirst.affectedRows > 0)
    await manager.query(
      'UPDATE schedules SET last_due_at = GREATEST(COALESCE(last_due_at, ?), ?) WHERE id = ?',
      [dueAt, dueAt, scheduleId],
    );
  const made = (await manager.query(
    `INSERT IGNORE INTO operations (id, tenant_id, procedure_name, kwargs, target, delivery, state, deadline_at,
       max_attempts, parallel, target_count, schedule_id, due_at, created_by, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, 'when-online', 'active', ?, ?, ?, 0, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [
      operationId,
      tenantId,
      body.procedure,
      JSON.stringify(body.kwargs),
      JSON.stringify(body.target),
      deadlineAt,
      body.attempts,
      body.parallel ? 1 : 0,
      scheduleId,
      dueAt,
      createdBy,
    ],
  )) as { affectedRows: number };
  const safety = (await findSafety(manager, body.procedure, [boardUuid])).get(boardUuid) ?? null;
  const added = (await manager.query(
    `INSERT IGNORE INTO operation_targets (board_uuid, operation_id, tenant_id, queue, state, safety, deadline_at,
       created_at, updated_at)
     VALUES (?, ?, ?, 1, 'queued', ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [boardUuid, operationId, tenantId, safety, deadlineAt],
  )) as { affectedRows: number };
  // One that had ended has a target again that has not. While its targets are being written its
  // count is known already.
  if (added.affectedRows > 0)
    await manager.query(
      `UPDATE operations SET target_count = target_count + 1, state = 'active', ended_at = NULL,
              version = version + 1, updated_at = UTC_TIMESTAMP(3) WHERE id = ? AND state <> 'preparing'`,
      [operationId],
    );
  if (made.affectedRows === 0) return false;
  const evidence = { by: createdBy, schedule: scheduleId, board: boardUuid };
  await insertOperationEvents(manager, [{ operationId, boardUuid: null, kind: 'created', evidence }]);
  return true;
}

function createdEvent({ tenantId, operationId }: OfflineRun): NewEvent {
  const payload = { operation: operationId, state: 'active', at: new Date().toISOString() };
  return { tenantId, boardUuid: null, type: 'operation', payload };
}

function parseBody(column: JsonObject | string) {
  const body = fromJsonColumn<JsonObject>(column);
  return {
    procedure: String(body.procedure),
    kwargs: body.kwargs ?? {},
    target: body.target ?? {},
    deadlineSeconds: Number(body.deadlineSeconds ?? 3600),
    attempts: Number(body.attempts ?? 1),
    parallel: body.parallel === true,
  };
}
