/** Alarms in the database; each function is one step. */
import type { EntityManager } from 'typeorm';
import type { Severity } from '../../common/alarms/rules.ts';
import {
  type AlarmRow,
  type AlarmStateName,
  alarmColumns,
  alarmTables,
  type RawAlarmRow,
  toAlarmRow,
} from '../../common/db/queries/alarms.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';

export interface AlarmFilter {
  tenants: readonly string[] | 'all';
  /** Of a key that is limited; null = no limit. */
  scopeBoards: ReadonlySet<string> | null;
  states: readonly AlarmStateName[] | undefined;
  severities: readonly Severity[] | undefined;
  board: string | undefined;
  rule: string | undefined;
}

/** Newest first: ids sort by the time of their making. */
export async function listAlarmRows(
  manager: EntityManager,
  filter: AlarmFilter,
  page: PageRequest,
): Promise<AlarmRow[]> {
  const { tenants, scopeBoards } = filter;
  if (tenants.length === 0 || scopeBoards?.size === 0) return [];
  const where: string[] = [];
  const values: unknown[] = [];
  const add = (sql: string, value: unknown) => {
    where.push(sql);
    values.push(value);
  };
  if (tenants !== 'all') add('a.tenant_id IN (?)', tenants);
  if (scopeBoards) add('a.board_uuid IN (?)', [...scopeBoards]);
  if (filter.states) add('a.state IN (?)', filter.states);
  // Says no more, but has an index across tenants: those that are open are few.
  if (filter.states?.includes('cleared') === false) add('a.open = ?', 1);
  if (filter.severities) add('a.severity IN (?)', filter.severities);
  if (filter.board !== undefined) add('a.board_uuid = ?', filter.board);
  if (filter.rule !== undefined) add('a.rule_id = ?', filter.rule);
  if (page.after) add('a.id < ?', page.after[0]);
  const rows = (await manager.query(
    `SELECT ${alarmColumns} FROM ${alarmTables} ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
     ORDER BY a.id DESC LIMIT ?`,
    [...values, page.limit + 1],
  )) as RawAlarmRow[];
  return rows.map(toAlarmRow);
}

/** For a change: nobody else changes it before the transaction has ended. As the first locking statement. */
export async function lockAlarm(manager: EntityManager, id: string): Promise<void> {
  await manager.query('SELECT id FROM alarms WHERE id = ? FOR UPDATE', [id]);
}

export async function findAlarmRow(manager: EntityManager, id: string): Promise<AlarmRow | undefined> {
  const [row] = (await manager.query(`SELECT ${alarmColumns} FROM ${alarmTables} WHERE a.id = ?`, [
    id,
  ])) as RawAlarmRow[];
  return row && toAlarmRow(row);
}

export async function markAcknowledged(
  manager: EntityManager,
  id: string,
  by: string,
  comment: string | null,
): Promise<void> {
  await manager.query(
    `UPDATE alarms SET state = 'acknowledged', acknowledged_at = UTC_TIMESTAMP(3), acknowledged_by = ?, comment = ?
     WHERE id = ?`,
    [by, comment, id],
  );
}

export function toAlarm(row: AlarmRow): Schemas['Alarm'] {
  const { tenantId, ruleId, boardUuid, operationId, since, peakAt, ...rest } = row;
  return {
    ...rest,
    tenant: tenantId,
    rule: ruleId,
    board: boardUuid,
    operation: operationId,
    since: new Date(since).toISOString(),
    peakAt: peakAt === null ? null : new Date(peakAt).toISOString(),
    // A boolean is kept as 0 or 1.
    value: row.value as number | string | null,
    clearedValue: row.clearedValue as number | string | null,
    raisedAt: row.raisedAt.toISOString(),
    acknowledgedAt: row.acknowledgedAt?.toISOString() ?? null,
    clearedAt: row.clearedAt?.toISOString() ?? null,
  };
}
