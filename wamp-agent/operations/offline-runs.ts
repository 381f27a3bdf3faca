/**
 * Operations that boards made by themselves: a due time of an offline schedule that came while they
 * were away, told with its report. The id is a function of schedule and due time, so that a conductor
 * and any number of boards make one operation of it. Everything is inserted only where it is missing.
 */
import type { EntityManager } from 'typeorm';
import { insertOperationEvents, type TargetKey } from '../../common/db/queries/operation-changes.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { type OperationReport, scheduledOperationId } from '../../common/wamp/operations.ts';

export interface OfflineRun extends TargetKey {
  tenantId: string;
  scheduleId: string;
  /** Epoch milliseconds. */
  dueAt: number;
}

interface ScheduleRow {
  id: string;
  tenantId: string;
  operation: JsonObject | string;
  createdBy: string;
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

/** Answers with the runs that have a target now; the others name no schedule of their tenant. */
export async function insertOfflineRuns(
  manager: EntityManager,
  runs: readonly OfflineRun[],
): Promise<OfflineRun[]> {
  if (runs.length === 0) return [];
  const schedules = await findSchedules(manager, [...new Set(runs.map((each) => each.scheduleId))]);
  const known: OfflineRun[] = [];
  for (const run of runs) {
    const schedule = schedules.get(run.scheduleId);
    if (!schedule || !isOf(run, schedule)) continue;
    await insertRun(manager, run, schedule);
    known.push(run);
  }
  return known;
}

async function findSchedules(
  manager: EntityManager,
  ids: readonly string[],
): Promise<Map<string, ScheduleRow>> {
  const rows = (await manager.query(
    `SELECT id, tenant_id AS tenantId, operation, created_by AS createdBy, created_at AS createdAt
     FROM schedules WHERE id IN (?)`,
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

async function insertRun(manager: EntityManager, run: OfflineRun, schedule: ScheduleRow): Promise<void> {
  const { operationId, boardUuid, tenantId, scheduleId } = run;
  const body = (
    typeof schedule.operation === 'string' ? JSON.parse(schedule.operation) : schedule.operation
  ) as JsonObject;
  const dueAt = new Date(run.dueAt);
  const deadlineAt = new Date(run.dueAt + Number(body.deadlineSeconds ?? 3600) * 1000);
  await manager.query(
    `INSERT IGNORE INTO schedule_runs (schedule_id, due_at, operation_id, outcome, at)
     VALUES (?, ?, ?, 'ran-offline', UTC_TIMESTAMP(3))`,
    [scheduleId, dueAt, operationId],
  );
  const made = (await manager.query(
    `INSERT IGNORE INTO operations (id, tenant_id, procedure_name, kwargs, target, delivery, state, deadline_at,
       max_attempts, parallel, target_count, schedule_id, due_at, created_by, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, 'when-online', 'active', ?, ?, ?, 0, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [
      operationId,
      tenantId,
      String(body.procedure),
      JSON.stringify(body.kwargs ?? {}),
      JSON.stringify({ schedule: scheduleId }),
      deadlineAt,
      Number(body.maxAttempts ?? 1),
      body.parallel === true ? 1 : 0,
      scheduleId,
      dueAt,
      schedule.createdBy,
    ],
  )) as { affectedRows: number };
  const added = (await manager.query(
    `INSERT IGNORE INTO operation_targets (board_uuid, operation_id, tenant_id, queue, state, deadline_at,
       created_at, updated_at)
     VALUES (?, ?, ?, 1, 'queued', ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [boardUuid, operationId, tenantId, deadlineAt],
  )) as { affectedRows: number };
  // One that had ended has a target again that has not. While its targets are being written its
  // count is known already.
  if (added.affectedRows > 0)
    await manager.query(
      `UPDATE operations SET target_count = target_count + 1, state = 'active', ended_at = NULL,
              version = version + 1, updated_at = UTC_TIMESTAMP(3) WHERE id = ? AND state <> 'preparing'`,
      [operationId],
    );
  if (made.affectedRows > 0)
    await insertOperationEvents(manager, [
      { operationId, boardUuid: null, kind: 'created', evidence: { by: 'board', boardUuid, scheduleId } },
    ]);
}
