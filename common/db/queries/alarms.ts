/** Rows of `alarms`, and the event that goes with each change of one. */
import type { Severity } from '../../alarms/rules.ts';
import type { ReadingValue } from '../../wamp/readings.ts';
import type { StoredAlarm } from '../entities/alarms.ts';
import { fromJsonColumn } from '../json-column.ts';
import type { NewEvent } from './events.ts';

export const alarmStates = ['raised', 'acknowledged', 'cleared'] as const;
export type AlarmStateName = (typeof alarmStates)[number];

/** `condition`: it is good again. The others: nobody watches it any more. */
export const clearReasons = [
  'condition',
  'rule-deleted',
  'rule-disabled',
  'rule-changed',
  'out-of-target',
  'board-deleted',
] as const;
export type ClearReason = (typeof clearReasons)[number];

/** A value is two columns. */
type ValueColumn = 'raisedNumber' | 'raisedText' | 'clearedNumber' | 'clearedText';

export interface AlarmRow extends Omit<StoredAlarm, ValueColumn | 'open' | 'revision' | 'streamId'> {
  severity: Severity;
  state: AlarmStateName;
  clearReason: ClearReason | null;
  value: ReadingValue | null;
  clearedValue: ReadingValue | null;
}

export const alarmColumns = `a.id, a.tenant_id AS tenantId, a.rule_id AS ruleId, a.rule_name AS ruleName, a.severity,
  a.board_uuid AS boardUuid, a.board_name AS boardName, a.stream, a.state, a.since, a.raised_at AS raisedAt,
  a.raised_number AS raisedNumber, a.raised_text AS raisedText, COALESCE(st.peak, a.peak) AS peak, COALESCE(st.peak_at, a.peak_at) AS peakAt,
  a.acknowledged_at AS acknowledgedAt, a.acknowledged_by AS acknowledgedBy, a.comment, a.cleared_at AS clearedAt,
  a.clear_reason AS clearReason, a.cleared_number AS clearedNumber, a.cleared_text AS clearedText, a.evidence,
  a.operation_id AS operationId, a.action_error AS actionError`;

/** The peak of an open one is kept where its stream is watched. */
export const alarmTables = `alarms a LEFT JOIN alarm_states st
  ON st.rule_id = a.rule_id AND st.stream_id = a.stream_id AND st.board_uuid = a.board_uuid AND st.alarm_id = a.id`;

/** As the database gives it. */
export interface RawAlarmRow
  extends Omit<AlarmRow, 'value' | 'clearedValue' | 'evidence'>,
    Pick<StoredAlarm, ValueColumn> {
  evidence: unknown;
}

export function toAlarmRow(row: RawAlarmRow): AlarmRow {
  const { raisedNumber, raisedText, clearedNumber, clearedText, ...rest } = row;
  return {
    ...rest,
    value: raisedNumber ?? raisedText,
    clearedValue: clearedNumber ?? clearedText,
    evidence: fromJsonColumn(row.evidence),
  };
}

/** A value as the two columns that hold it. */
export function toValueColumns(value: ReadingValue | null): [number: number | null, text: string | null] {
  if (value === null) return [null, null];
  return typeof value === 'string' ? [null, value] : [Number(value), null];
}

/** Payload of an event of type `alarm`. */
export interface AlarmPayload {
  alarm: string;
  rule: string;
  ruleName: string;
  severity: Severity;
  board: string;
  boardName: string;
  stream: string | null;
  state: AlarmStateName;
  change: 'raised' | 'acknowledged' | 'cleared';
  value: ReadingValue | null;
  /** RFC 3339: measured time that it began. */
  since: string;
  /** Of a cleared one. */
  reason?: ClearReason;
  operation?: string;
  /** Why its action made none. */
  actionError?: string;
}

type Told = Pick<
  AlarmRow,
  'id' | 'tenantId' | 'ruleId' | 'ruleName' | 'severity' | 'boardUuid' | 'boardName' | 'stream' | 'since'
>;

export function alarmEvent(
  alarm: Told,
  change: Pick<AlarmPayload, 'state' | 'change' | 'value'> & {
    reason?: ClearReason;
    operation?: string | null;
    actionError?: string | null;
  },
): NewEvent {
  const { operation, actionError, ...rest } = change;
  const payload: AlarmPayload = {
    alarm: alarm.id,
    rule: alarm.ruleId,
    ruleName: alarm.ruleName,
    severity: alarm.severity,
    board: alarm.boardUuid,
    boardName: alarm.boardName,
    stream: alarm.stream,
    since: new Date(alarm.since).toISOString(),
    ...rest,
    ...(operation != null && { operation }),
    ...(actionError != null && { actionError }),
  };
  return { tenantId: alarm.tenantId, boardUuid: alarm.boardUuid, type: 'alarm', payload: { ...payload } };
}
