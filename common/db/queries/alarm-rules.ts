/** Rows of `alarm_rules` with their JSON read, and the row of the tenant that stands for all of them. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { AlarmRuleRow } from '../entities/alarms.ts';
import { fromJsonColumn } from '../json-column.ts';
import { addConsumer, removeConsumer } from './outbox.ts';

export const alarmRuleColumns = `id, tenant_id AS tenantId, name, severity, enabled, target, stream,
  alarm_condition AS \`condition\`, for_seconds AS forSeconds, hysteresis, clear_for_seconds AS clearForSeconds,
  alarm_action AS action, revision, created_by AS createdBy, author, version, created_at AS createdAt, updated_at AS updatedAt`;

/** As the database gives it. */
export interface RawAlarmRuleRow extends Omit<AlarmRuleRow, 'enabled' | 'target' | 'condition' | 'action'> {
  enabled: number;
  target: unknown;
  condition: unknown;
  action: unknown;
}

export function toAlarmRuleRow(row: RawAlarmRuleRow): AlarmRuleRow {
  return {
    ...row,
    enabled: row.enabled === 1,
    target: fromJsonColumn(row.target),
    condition: fromJsonColumn(row.condition),
    action: row.action === null ? null : fromJsonColumn(row.action),
  };
}

export async function findEnabledRules(manager: EntityManager, tenantId: string): Promise<AlarmRuleRow[]> {
  const rows = (await manager.query(
    `SELECT ${alarmRuleColumns} FROM alarm_rules WHERE tenant_id = ? AND enabled = 1 ORDER BY id`,
    [tenantId],
  )) as RawAlarmRuleRow[];
  return rows.map(toAlarmRuleRow);
}

/**
 * The first statement of a transaction that changes rules: no conductor evaluates the tenant's rules
 * between this and the commit, and the next one sees that they have changed.
 */
export async function beginRuleChange(manager: EntityManager, tenantId: string): Promise<void> {
  await manager.query(
    `INSERT INTO alarm_rule_sets (tenant_id, version) VALUES (?, 1)
     ON DUPLICATE KEY UPDATE version = version + 1`,
    [tenantId],
  );
}

/** `reading_consumers.kind` of the alarm rules of a tenant: one consumer while stream rules are enabled. */
export const alarmConsumerKind = 'alarms';

/** The last statements about rules of such a transaction. */
export async function endRuleChange(manager: EntityManager, tenantId: string): Promise<void> {
  const [counts] = (await manager.query(
    `SELECT COUNT(stream) AS streams, COUNT(*) - COUNT(stream) AS boards
     FROM alarm_rules WHERE tenant_id = ? AND enabled = 1`,
    [tenantId],
  )) as { streams: number | string; boards: number | string }[];
  await manager.query('UPDATE alarm_rule_sets SET stream_rules = ?, board_rules = ? WHERE tenant_id = ?', [
    Number(counts?.streams ?? 0),
    Number(counts?.boards ?? 0),
    tenantId,
  ]);
  await keepConsumer(manager, tenantId, Number(counts?.streams ?? 0) > 0);
}

async function keepConsumer(manager: EntityManager, tenantId: string, isWanted: boolean): Promise<void> {
  // As of now, and not as of the transaction's first read.
  const [consumer] = (await manager.query(
    'SELECT id FROM reading_consumers WHERE tenant_id = ? AND kind = ? FOR UPDATE',
    [tenantId, alarmConsumerKind],
  )) as { id: string }[];
  if (isWanted && !consumer)
    await addConsumer(manager, { id: randomUUID(), tenantId, kind: alarmConsumerKind });
  if (!isWanted && consumer) await removeConsumer(manager, consumer.id);
}

export interface RuleSet {
  version: number;
  /** What is left of earlier versions is gone up to here. */
  sweptVersion: number;
}

/**
 * The first statement of a transaction that evaluates a tenant's rules: one conductor at a time does.
 * It is a write, so that it also holds on a cluster. undefined = the tenant has no rules.
 */
export async function beginEvaluation(
  manager: EntityManager,
  tenantId: string,
): Promise<RuleSet | undefined> {
  await manager.query('UPDATE alarm_rule_sets SET turn = turn + 1 WHERE tenant_id = ?', [tenantId]);
  const [row] = (await manager.query(
    'SELECT version, swept_version AS sweptVersion FROM alarm_rule_sets WHERE tenant_id = ?',
    [tenantId],
  )) as RuleSet[];
  return row;
}
