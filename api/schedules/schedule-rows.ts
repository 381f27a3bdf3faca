/** Schedules in the database; each function is one step of a transaction. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import {
  type RawScheduleRow,
  type ScheduleRow,
  scheduleColumns,
  toScheduleRow,
} from '../../common/db/queries/schedule-rows.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Schemas } from '../http/operation.ts';
import { cursorTime, type PageRequest } from '../http/paging.ts';
import { insertRow, updateRow } from '../http/versioned-rows.ts';

/** What a client decides on, and what follows from it. */
export type ScheduleValues = Pick<
  ScheduleRow,
  'name' | 'state' | 'timing' | 'jitterSeconds' | 'overlap' | 'catchUp' | 'offline' | 'operation' | 'nextAt'
>;

function toColumns(values: ScheduleValues): Record<string, unknown> {
  return {
    name: values.name,
    state: values.state,
    timing: JSON.stringify(values.timing),
    jitter_seconds: values.jitterSeconds,
    overlap: values.overlap,
    catch_up: values.catchUp.mode,
    catch_up_limit: values.catchUp.limit,
    offline: values.offline ? 1 : 0,
    operation: JSON.stringify(values.operation),
    next_at: values.nextAt,
  };
}

/** By name, and by id among the same names of several tenants. */
export async function listScheduleRows(
  manager: EntityManager,
  tenants: readonly string[] | 'all',
  page: PageRequest,
): Promise<ScheduleRow[]> {
  if (tenants.length === 0) return [];
  const [name, id] = page.after ?? [];
  const rows = (await manager.query(
    `SELECT ${scheduleColumns} FROM schedules WHERE ${tenants === 'all' ? 'TRUE' : 'tenant_id IN (?)'}
     ${page.after ? 'AND (name > ? OR (name = ? AND id > ?))' : ''} ORDER BY name, id LIMIT ?`,
    [...(tenants === 'all' ? [] : [tenants]), ...(page.after ? [name, name, id] : []), page.limit + 1],
  )) as RawScheduleRow[];
  return rows.map(toScheduleRow);
}

/** @param lock for a change: as the first locking statement of its transaction */
export async function readScheduleRow(
  manager: EntityManager,
  id: string,
  { lock = false }: { lock?: boolean } = {},
): Promise<ScheduleRow> {
  const [row] = (await manager.query(
    `SELECT ${scheduleColumns} FROM schedules WHERE id = ?${lock ? ' FOR UPDATE' : ''}`,
    [id],
  )) as RawScheduleRow[];
  if (!row) throw new AppError('not-found', 'there is no such schedule');
  return toScheduleRow(row);
}

export async function insertSchedule(
  manager: EntityManager,
  tenantId: string,
  values: ScheduleValues,
  createdBy: string,
): Promise<string> {
  const id = randomUUID();
  const columns = { id, tenant_id: tenantId, created_by: createdBy, author: createdBy, ...toColumns(values) };
  await insertRow(manager, 'schedules', columns);
  return id;
}

/** @param author in whose name it makes operations from now on; left out, as before */
export async function updateScheduleRow(
  manager: EntityManager,
  id: string,
  values: ScheduleValues,
  author?: string,
): Promise<void> {
  const columns = { ...toColumns(values), ...(author !== undefined && { author }) };
  await updateRow(manager, 'schedules', { id }, columns);
}

/** The fleet cannot be deleted before the transaction has ended. Throws AppError `not-found`. */
export async function holdFleet(manager: EntityManager, tenantId: string, fleetId: string): Promise<void> {
  const rows = (await manager.query(
    'SELECT 1 FROM fleets WHERE id = ? AND tenant_id = ? LOCK IN SHARE MODE',
    [fleetId, tenantId],
  )) as unknown[];
  if (rows.length === 0) throw new AppError('not-found', 'there is no such fleet');
}

export interface RunRow {
  dueAt: Date;
  outcome: Schemas['ScheduleRun']['outcome'];
  operation: string | null;
  detail: string | null;
  at: Date;
}

/** Newest first. */
export async function listRunRows(
  manager: EntityManager,
  scheduleId: string,
  page: PageRequest,
): Promise<RunRow[]> {
  const at = page.after && cursorTime(page.after[0]);
  return manager.query(
    `SELECT due_at AS dueAt, outcome, operation_id AS operation, detail, at FROM schedule_runs
     WHERE schedule_id = ? ${at ? 'AND due_at < ?' : ''} ORDER BY due_at DESC LIMIT ?`,
    [scheduleId, ...(at ? [at] : []), page.limit + 1],
  );
}

export function toRun(row: RunRow): Schemas['ScheduleRun'] {
  return { ...row, dueAt: row.dueAt.toISOString(), at: row.at.toISOString() };
}
