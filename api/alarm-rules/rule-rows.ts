/** Alarm rules in the database; each function is one step of a transaction. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { alarmLimits } from '../../common/alarms/rules.ts';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import {
  alarmRuleColumns,
  type RawAlarmRuleRow,
  toAlarmRuleRow,
} from '../../common/db/queries/alarm-rules.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { PageRequest } from '../http/paging.ts';
import { insertRow, updateRow } from '../http/versioned-rows.ts';
import type { RuleValues } from './rule-request.ts';

function toColumns(values: RuleValues): Record<string, unknown> {
  return {
    name: values.name,
    severity: values.severity,
    enabled: values.enabled ? 1 : 0,
    target: JSON.stringify(values.target),
    stream: values.stream,
    alarm_condition: JSON.stringify(values.condition),
    for_seconds: values.forSeconds,
    hysteresis: values.hysteresis,
    clear_for_seconds: values.clearForSeconds,
    alarm_action: values.action && JSON.stringify(values.action),
  };
}

/** By name, and by id among the same names of several tenants. */
export async function listRuleRows(
  manager: EntityManager,
  tenants: readonly string[] | 'all',
  page: PageRequest,
): Promise<AlarmRuleRow[]> {
  if (tenants.length === 0) return [];
  const [name, id] = page.after ?? [];
  const rows = (await manager.query(
    `SELECT ${alarmRuleColumns} FROM alarm_rules WHERE ${tenants === 'all' ? 'TRUE' : 'tenant_id IN (?)'}
     ${page.after ? 'AND (name > ? OR (name = ? AND id > ?))' : ''} ORDER BY name, id LIMIT ?`,
    [...(tenants === 'all' ? [] : [tenants]), ...(page.after ? [name, name, id] : []), page.limit + 1],
  )) as RawAlarmRuleRow[];
  return rows.map(toAlarmRuleRow);
}

/** @param lock for a change */
export async function readRuleRow(
  manager: EntityManager,
  id: string,
  { lock = false }: { lock?: boolean } = {},
): Promise<AlarmRuleRow> {
  const [row] = (await manager.query(
    `SELECT ${alarmRuleColumns} FROM alarm_rules WHERE id = ?${lock ? ' FOR UPDATE' : ''}`,
    [id],
  )) as RawAlarmRuleRow[];
  if (!row) throw new AppError('not-found', 'there is no such alarm rule');
  return toAlarmRuleRow(row);
}

/** After beginRuleChange, which keeps others out. Throws AppError `quota-exceeded`. */
export async function requireRoom(manager: EntityManager, tenantId: string): Promise<void> {
  const [row] = (await manager.query('SELECT COUNT(*) AS count FROM alarm_rules WHERE tenant_id = ?', [
    tenantId,
  ])) as { count: number | string }[];
  const used = Number(row?.count ?? 0);
  const limit = alarmLimits.rulesPerTenant;
  if (used >= limit)
    throw new AppError('quota-exceeded', `the tenant may have ${limit} alarm rules and has ${used}`, {
      details: { limit, used },
    });
}

export async function insertRule(
  manager: EntityManager,
  tenantId: string,
  values: RuleValues,
  createdBy: string,
): Promise<string> {
  const id = randomUUID();
  const columns = { id, tenant_id: tenantId, created_by: createdBy, author: createdBy, ...toColumns(values) };
  await insertRow(manager, 'alarm_rules', columns);
  return id;
}

/**
 * @param revision another one: the watch begins anew
 * @param author in whose name its action makes operations from now on
 */
export async function updateRuleRow(
  manager: EntityManager,
  id: string,
  values: RuleValues,
  { revision, author }: Pick<AlarmRuleRow, 'revision' | 'author'>,
): Promise<void> {
  await updateRow(manager, 'alarm_rules', { id }, { ...toColumns(values), revision, author });
}
