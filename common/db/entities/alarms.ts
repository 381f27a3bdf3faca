/** Alarm rules, how streams stand by them, and what was raised. */
import { EntitySchema } from 'typeorm';
import type { AlarmRule } from '../../alarms/rules.ts';
import type { WatchPhase } from '../../alarms/watch.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, double, flag, json, nullable, text, time, uuid, whole } from './columns.ts';
import { ofTenant } from './foreign-keys.ts';

export interface AlarmRuleSet {
  tenantId: string;
  /** Rises with each change of the tenant's rules. */
  version: number;
  /** Enabled ones that watch streams, and that watch boards. */
  streamRules: number;
  boardRules: number;
  /** Written first by whoever evaluates: one at a time does. */
  turn: number;
  sweptVersion: number;
  sweptAt: Date | null;
}

export const AlarmRuleSetEntity = new EntitySchema<AlarmRuleSet>({
  name: 'AlarmRuleSet',
  tableName: 'alarm_rule_sets',
  columns: {
    tenantId: uuid('tenant_id', { primary: true }),
    version: whole('version', { default: 1 }),
    streamRules: whole('stream_rules', { default: 0 }),
    boardRules: whole('board_rules', { default: 0 }),
    turn: big('turn', { default: 0 }),
    sweptVersion: whole('swept_version', { default: 0 }),
    sweptAt: time('swept_at', nullable),
  },
  foreignKeys: ofTenant('fk_alarm_rule_sets_tenant'),
});

export interface AlarmRuleRow extends AlarmRule {
  createdBy: string;
  /** In whose name its action makes operations: whoever made or last changed it; null = nobody. */
  author: string | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const AlarmRuleEntity = new EntitySchema<AlarmRuleRow>({
  name: 'AlarmRule',
  tableName: 'alarm_rules',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    severity: ascii('severity', 20),
    enabled: flag('enabled', { default: 1 }),
    target: json('target'),
    stream: ascii('stream', 150, nullable),
    condition: json('alarm_condition'),
    forSeconds: whole('for_seconds', { default: 0 }),
    hysteresis: double('hysteresis', { default: 0 }),
    clearForSeconds: whole('clear_for_seconds', { default: 0 }),
    action: json('alarm_action', nullable),
    revision: whole('revision', { default: 1 }),
    createdBy: ascii('created_by', 60),
    author: ascii('author', 60, nullable),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [{ name: 'uq_alarm_rules_name', columns: ['tenantId', 'name'], unique: true }],
  foreignKeys: ofTenant('fk_alarm_rules_tenant'),
});

export interface AlarmState {
  ruleId: string;
  boardUuid: string;
  /** 0 = the board itself. */
  streamId: number;
  tenantId: string;
  /** Of the rule; what was worked out by an earlier one does not count. */
  revision: number;
  phase: WatchPhase;
  /** Epoch milliseconds, as all measured times. */
  since: number | null;
  lastAt: number | null;
  lastNumber: number | null;
  lastText: string | null;
  peak: number | null;
  peakAt: number | null;
  dueAt: Date | null;
  /** The open one. */
  alarmId: string | null;
}

const measured = { unsigned: false, ...nullable };

export const AlarmStateEntity = new EntitySchema<AlarmState>({
  name: 'AlarmState',
  tableName: 'alarm_states',
  columns: {
    ruleId: uuid('rule_id', { primary: true }),
    streamId: whole('stream_id', { primary: true }),
    boardUuid: uuid('board_uuid', { primary: true }),
    tenantId: uuid('tenant_id'),
    revision: whole('revision'),
    phase: ascii('phase', 10),
    since: big('since', measured),
    lastAt: big('last_at', measured),
    lastNumber: double('last_number', nullable),
    lastText: text('last_text', 2000, nullable),
    peak: double('peak', nullable),
    peakAt: big('peak_at', measured),
    dueAt: time('due_at', nullable),
    alarmId: uuid('alarm_id', nullable),
  },
  indices: [
    { name: 'ix_alarm_states_due', columns: ['dueAt'] },
    { name: 'ix_alarm_states_tenant', columns: ['tenantId', 'ruleId'] },
  ],
  foreignKeys: ofTenant('fk_alarm_states_tenant'),
});

export interface StoredAlarm {
  id: string;
  tenantId: string;
  ruleId: string;
  ruleName: string;
  revision: number;
  severity: string;
  boardUuid: string;
  boardName: string;
  /** 0 = the board itself, as null of `stream`. */
  streamId: number;
  stream: string | null;
  /** 1 until cleared. */
  open: number | null;
  state: string;
  /** Measured time that it began, epoch milliseconds. */
  since: number;
  raisedAt: Date;
  raisedNumber: number | null;
  raisedText: string | null;
  peak: number | null;
  peakAt: number | null;
  acknowledgedAt: Date | null;
  acknowledgedBy: string | null;
  comment: string | null;
  clearedAt: Date | null;
  clearReason: string | null;
  clearedNumber: number | null;
  clearedText: string | null;
  evidence: JsonObject;
  operationId: string | null;
  actionError: string | null;
}

export const AlarmEntity = new EntitySchema<StoredAlarm>({
  name: 'Alarm',
  tableName: 'alarms',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    ruleId: uuid('rule_id'),
    ruleName: text('rule_name', 100),
    revision: whole('revision'),
    severity: ascii('severity', 20),
    boardUuid: uuid('board_uuid'),
    boardName: text('board_name', 100),
    streamId: whole('stream_id'),
    stream: ascii('stream', 150, nullable),
    open: { name: 'open', type: 'tinyint', nullable: true },
    state: ascii('state', 20),
    since: big('since', { unsigned: false }),
    raisedAt: time('raised_at'),
    raisedNumber: double('raised_number', nullable),
    raisedText: text('raised_text', 2000, nullable),
    peak: double('peak', nullable),
    peakAt: big('peak_at', measured),
    acknowledgedAt: time('acknowledged_at', nullable),
    acknowledgedBy: ascii('acknowledged_by', 60, nullable),
    comment: text('comment', 500, nullable),
    clearedAt: time('cleared_at', nullable),
    clearReason: ascii('clear_reason', 20, nullable),
    clearedNumber: double('cleared_number', nullable),
    clearedText: text('cleared_text', 2000, nullable),
    evidence: json('evidence'),
    operationId: uuid('operation_id', nullable),
    actionError: text('action_error', 500, nullable),
  },
  indices: [
    { name: 'uq_alarms_open', columns: ['ruleId', 'boardUuid', 'streamId', 'open'], unique: true },
    { name: 'ix_alarms_tenant', columns: ['tenantId', 'id'] },
    { name: 'ix_alarms_state', columns: ['tenantId', 'state', 'id'] },
    { name: 'ix_alarms_open', columns: ['tenantId', 'open', 'ruleId'] },
    { name: 'ix_alarms_board', columns: ['boardUuid', 'id'] },
    { name: 'ix_alarms_cleared', columns: ['clearedAt'] },
    { name: 'ix_alarms_severity', columns: ['open', 'severity'] },
    { name: 'ix_alarms_tenant_severity', columns: ['tenantId', 'severity', 'id'] },
  ],
  foreignKeys: ofTenant('fk_alarms_tenant'),
});
