/** What the tasks of schedules read and write; each function is one step of a transaction. */
import type { EntityManager } from 'typeorm';
import { recordAudit } from '../../common/db/queries/audit.ts';
import type { Deed } from '../../common/db/queries/authority.ts';
import {
  type RawScheduleRow,
  type ScheduleRow,
  scheduleColumns,
  toScheduleRow,
} from '../../common/db/queries/schedule-rows.ts';
import type { AppError } from '../../common/runtime/app-error.ts';
import { onTimeMs } from '../../common/wamp/board-schedules.ts';

/** An active schedule whose time has come. */
export type DueSchedule = ScheduleRow & { nextAt: Date };

/** The longest due first. Looks at due rows only, however many schedules there are. */
export async function findDueSchedules(
  manager: EntityManager,
  now: number,
  limit: number,
): Promise<DueSchedule[]> {
  const rows = (await manager.query(
    `SELECT ${scheduleColumns} FROM schedules WHERE state = 'active' AND next_at <= ? ORDER BY next_at LIMIT ?`,
    [new Date(now), limit],
  )) as RawScheduleRow[];
  return rows.map(toScheduleRow) as DueSchedule[];
}

export interface Advance {
  nextAt: number | undefined;
  /** A due time that was met; undefined leaves the last one. */
  dueAt?: number;
  /** Of the due time; undefined leaves the last one. */
  error?: string | null;
}

/**
 * Goes on to the next due time, and ends a schedule that has none. False when somebody else did, or the
 * schedule was changed meanwhile. As the first statement of its transaction it keeps others out.
 */
export async function advanceSchedule(
  manager: EntityManager,
  schedule: DueSchedule,
  { nextAt, dueAt, error }: Advance,
): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE schedules SET next_at = ?, state = ?${dueAt === undefined ? '' : ', last_due_at = ?'}${error === undefined ? '' : ', last_error = ?'}
     WHERE id = ? AND state = 'active' AND next_at = ? AND version = ?`,
    [
      nextAt === undefined ? null : new Date(nextAt),
      nextAt === undefined ? 'ended' : 'active',
      ...(dueAt === undefined ? [] : [new Date(dueAt)]),
      ...(error === undefined ? [] : [error?.slice(0, 500) ?? null]),
      schedule.id,
      schedule.nextAt,
      schedule.version,
    ],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

/** What the schedule does, and in whose name. */
export function deedOf({ tenantId, author, operation }: ScheduleRow): Deed {
  return { tenantId, author, procedure: operation.procedure };
}

/** Of an author without the right: when that begins, and not at each due time. */
export async function auditRefusal(
  manager: EntityManager,
  { id, tenantId, name, author, lastError }: ScheduleRow,
  error: AppError,
): Promise<void> {
  if (error.code !== 'forbidden' || error.message === lastError) return;
  await recordAudit(manager, {
    tenantId,
    actorKind: 'process',
    actor: 'conductor',
    action: 'run-schedule',
    targetKind: 'schedule',
    target: id,
    result: error.code,
    detail: { name, author, reason: error.message },
  });
}

export async function pauseBroken(
  manager: EntityManager,
  schedule: DueSchedule,
  reason: string,
): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE schedules SET state = 'paused', next_at = NULL, last_error = ? WHERE id = ? AND state = 'active' AND version = ?`,
    [reason.slice(0, 500), schedule.id, schedule.version],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

export interface NewRun {
  scheduleId: string;
  dueAt: number;
  operationId: string | null;
  outcome: 'created' | 'skipped' | 'missed' | 'failed';
  detail: string | null;
}

/** Who inserts it fires the due time; false = it was fired before. */
export async function insertRun(manager: EntityManager, run: NewRun): Promise<boolean> {
  const result = (await manager.query(
    `INSERT IGNORE INTO schedule_runs (schedule_id, due_at, operation_id, outcome, detail, at)
     VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3))`,
    [run.scheduleId, new Date(run.dueAt), run.operationId, run.outcome, run.detail?.slice(0, 500) ?? null],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

/** Those of the boards that are still there, in their order. */
export async function findRemainingBoards(
  manager: EntityManager,
  tenantId: string,
  boardUuids: readonly string[],
): Promise<string[]> {
  const rows = (await manager.query('SELECT uuid FROM boards WHERE tenant_id = ? AND uuid IN (?)', [
    tenantId,
    boardUuids,
  ])) as { uuid: string }[];
  const there = new Set(rows.map(({ uuid }) => uuid));
  return boardUuids.filter((uuid) => there.has(uuid));
}

export async function markSkipped(
  manager: EntityManager,
  { scheduleId, dueAt }: { scheduleId: string; dueAt: number },
  detail: string,
): Promise<void> {
  await manager.query(
    `UPDATE schedule_runs SET outcome = 'skipped', operation_id = NULL, detail = ?
     WHERE schedule_id = ? AND due_at = ?`,
    [detail, scheduleId, new Date(dueAt)],
  );
}

/** A schedule's operations do not pile up; looking further back would cost more with every due time. */
const newestOperations = 120;

/**
 * Ids of the schedule's operations of earlier due times that have not ended, newest first. For one that
 * is made up for, others that were made up for do not count: after an outage they all run, one after
 * the other.
 */
export async function findOpenOperations(
  manager: EntityManager,
  scheduleId: string,
  { dueAt, isLate }: { dueAt: number; isLate: boolean },
): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT id FROM (SELECT id, state, due_at, created_at FROM operations
                     WHERE schedule_id = ? ORDER BY id DESC LIMIT ?) o
     WHERE state IN ('preparing', 'active') AND due_at < ?
       ${isLate ? 'AND created_at <= due_at + INTERVAL ? SECOND' : ''}`,
    [scheduleId, newestOperations, new Date(dueAt), ...(isLate ? [onTimeMs / 1000] : [])],
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}
