/** Alarms as they are read, changed and written by evaluations. */
import type { EntityManager } from 'typeorm';
import type { Transition } from '../../common/alarms/watch.ts';
import {
  type AlarmRow,
  alarmColumns,
  alarmTables,
  type ClearReason,
  type RawAlarmRow,
  toAlarmRow,
  toValueColumns,
} from '../../common/db/queries/alarms.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';

/** Of the database, or of this transaction and not written yet. */
export interface OpenAlarm {
  row: AlarmRow;
  streamId: number;
  revision: number;
  isNew: boolean;
  isChanged: boolean;
}

export function clearedRow(
  row: AlarmRow,
  { reason, transition, now }: { reason: ClearReason; transition?: Transition; now: number },
): AlarmRow {
  return {
    ...row,
    state: 'cleared',
    clearedAt: new Date(now),
    clearReason: reason,
    clearedValue: transition?.reading?.value ?? null,
    ...(transition?.peak != null && { peak: transition.peak, peakAt: transition.peakAt }),
    evidence: { ...row.evidence, ...(transition && { cleared: evidenceOf(transition) }) },
  };
}

export function evidenceOf({ by, since, reading }: Transition): JsonObject {
  return {
    by,
    since: new Date(since).toISOString(),
    reading: reading && { at: new Date(reading.at).toISOString(), value: reading.value },
  };
}

/** Locked: somebody may be acknowledging one. */
export async function readAlarms(manager: EntityManager, ids: readonly string[]): Promise<AlarmRow[]> {
  if (ids.length === 0) return [];
  await manager.query('SELECT id FROM alarms WHERE id IN (?) ORDER BY id FOR UPDATE', [ids]);
  const rows = (await manager.query(`SELECT ${alarmColumns} FROM ${alarmTables} WHERE a.id IN (?)`, [
    ids,
  ])) as RawAlarmRow[];
  return rows.map(toAlarmRow);
}

const rowsPerStatement = 500;

export async function insertAlarms(manager: EntityManager, alarms: readonly OpenAlarm[]): Promise<void> {
  for (let from = 0; from < alarms.length; from += rowsPerStatement)
    await manager.query(
      `INSERT INTO alarms (id, tenant_id, rule_id, rule_name, revision, severity, board_uuid, board_name, stream_id,
         stream, open, state, since, raised_at, raised_number, raised_text, peak, peak_at, cleared_at, clear_reason,
         cleared_number, cleared_text, evidence, operation_id, action_error) VALUES ?`,
      [
        alarms
          .slice(from, from + rowsPerStatement)
          .map(({ row, streamId, revision }) => [
            row.id,
            row.tenantId,
            row.ruleId,
            row.ruleName,
            revision,
            row.severity,
            row.boardUuid,
            row.boardName,
            streamId,
            row.stream,
            row.clearedAt === null ? 1 : null,
            row.state,
            row.since,
            row.raisedAt,
            ...toValueColumns(row.value),
            row.peak,
            row.peakAt,
            row.clearedAt,
            row.clearReason,
            ...toValueColumns(row.clearedValue),
            JSON.stringify(row.evidence),
            row.operationId,
            row.actionError,
          ]),
      ],
    );
}

export async function updateAlarm(manager: EntityManager, row: AlarmRow): Promise<void> {
  await manager.query(
    `UPDATE alarms SET open = ?, state = ?, peak = ?, peak_at = ?, cleared_at = ?, clear_reason = ?, cleared_number = ?,
       cleared_text = ?, evidence = ?, operation_id = ?, action_error = ? WHERE id = ?`,
    [
      row.clearedAt === null ? 1 : null,
      row.state,
      row.peak,
      row.peakAt,
      row.clearedAt,
      row.clearReason,
      ...toValueColumns(row.clearedValue),
      JSON.stringify(row.evidence),
      row.operationId,
      row.actionError,
      row.id,
    ],
  );
}
