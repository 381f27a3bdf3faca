/** Rows of `alarm_states`: how a stream or a board stands by a rule. */
import type { EntityManager } from 'typeorm';
import { freshWatch, type Watch } from '../../common/alarms/watch.ts';
import type { AlarmRuleRow, AlarmState } from '../../common/db/entities/alarms.ts';
import { toValueColumns } from '../../common/db/queries/alarms.ts';

export interface Watched {
  rule: AlarmRuleRow;
  boardUuid: string;
  /** 0 = the board itself. */
  streamId: number;
  stream: string | null;
  watch: Watch;
  /** The open one. */
  alarmId: string | null;
}

type StateRow = Omit<AlarmState, 'tenantId'> & { stream: string | null };

const columns = `s.rule_id AS ruleId, s.board_uuid AS boardUuid, s.stream_id AS streamId, s.revision, s.phase, s.since,
  s.last_at AS lastAt, s.last_number AS lastNumber, s.last_text AS lastText, s.peak, s.peak_at AS peakAt,
  s.due_at AS dueAt, s.alarm_id AS alarmId, t.name AS stream`;
const tables = 'alarm_states s LEFT JOIN streams t ON t.id = s.stream_id';

function toWatched(row: StateRow, rule: AlarmRuleRow): Watched {
  const { boardUuid, streamId, stream, alarmId, phase, since, lastAt, peak, peakAt } = row;
  const value = row.lastNumber ?? row.lastText ?? 0;
  const last = lastAt === null ? null : { at: lastAt, value };
  const watch: Watch = { phase, since, last, peak, peakAt, dueAt: row.dueAt?.getTime() ?? null };
  return { rule, boardUuid, streamId, stream, alarmId, watch };
}

export function keyOf({
  ruleId,
  streamId,
  boardUuid,
}: Pick<StateRow, 'ruleId' | 'streamId' | 'boardUuid'>): string {
  return `${ruleId} ${streamId} ${boardUuid}`;
}

/** States of rules and streams (or boards, of stream 0), by key. Those of an earlier revision do not count. */
export async function readStates(
  manager: EntityManager,
  rules: readonly AlarmRuleRow[],
  streamIds: readonly number[],
  boardUuids?: readonly string[],
): Promise<Map<string, Watched>> {
  if (rules.length === 0 || streamIds.length === 0 || boardUuids?.length === 0) return new Map();
  const byId = new Map(rules.map((rule) => [rule.id, rule]));
  const rows = (await manager.query(
    `SELECT ${columns} FROM ${tables} WHERE s.rule_id IN (?) AND s.stream_id IN (?)${boardUuids ? ' AND s.board_uuid IN (?)' : ''}`,
    [[...byId.keys()], streamIds, ...(boardUuids ? [boardUuids] : [])],
  )) as StateRow[];
  return new Map(
    rows.flatMap((row) => {
      const rule = byId.get(row.ruleId);
      return rule?.revision === row.revision ? [[keyOf(row), toWatched(row, rule)] as const] : [];
    }),
  );
}

/** The longest due first. Looks at due rows only. */
export async function readDueStates(
  manager: EntityManager,
  tenantId: string,
  rules: readonly AlarmRuleRow[],
  { now, limit }: { now: number; limit: number },
): Promise<Watched[]> {
  const byId = new Map(rules.map((rule) => [rule.id, rule]));
  const rows = (await manager.query(
    `SELECT ${columns} FROM ${tables} WHERE s.due_at <= ? AND s.tenant_id = ? ORDER BY s.due_at LIMIT ?`,
    [new Date(now), tenantId, limit],
  )) as StateRow[];
  return rows.flatMap((row) => {
    const rule = byId.get(row.ruleId);
    return rule?.revision === row.revision ? [toWatched(row, rule)] : [];
  });
}

export function newWatched(
  rule: AlarmRuleRow,
  subject: Pick<Watched, 'boardUuid' | 'streamId' | 'stream'>,
): Watched {
  return { rule, ...subject, watch: freshWatch, alarmId: null };
}

const rowsPerStatement = 500;
const names = `(rule_id, stream_id, board_uuid, tenant_id, revision, phase, since, last_at, last_number, last_text,
  peak, peak_at, due_at, alarm_id)`;
const updates = [
  'revision',
  'phase',
  'since',
  'last_at',
  'last_number',
  'last_text',
  'peak',
  'peak_at',
  'due_at',
  'alarm_id',
]
  .map((name) => `${name} = VALUES(${name})`)
  .join(', ');

export async function writeStates(manager: EntityManager, states: readonly Watched[]): Promise<void> {
  for (let from = 0; from < states.length; from += rowsPerStatement)
    await manager.query(`INSERT INTO alarm_states ${names} VALUES ? ON DUPLICATE KEY UPDATE ${updates}`, [
      states.slice(from, from + rowsPerStatement).map(toRow),
    ]);
}

function toRow({ rule, streamId, boardUuid, watch, alarmId }: Watched): unknown[] {
  const { phase, since, last, peak, peakAt, dueAt } = watch;
  return [
    rule.id,
    streamId,
    boardUuid,
    rule.tenantId,
    rule.revision,
    phase,
    since,
    last?.at ?? null,
    ...toValueColumns(last?.value ?? null),
    peak,
    peakAt,
    dueAt === null ? null : new Date(dueAt),
    alarmId,
  ];
}

export async function deleteStates(
  manager: EntityManager,
  states: readonly Pick<Watched, 'rule' | 'streamId' | 'boardUuid'>[],
): Promise<void> {
  for (let from = 0; from < states.length; from += rowsPerStatement)
    await manager.query('DELETE FROM alarm_states WHERE (rule_id, stream_id, board_uuid) IN (?)', [
      states
        .slice(from, from + rowsPerStatement)
        .map(({ rule, streamId, boardUuid }) => [rule.id, streamId, boardUuid]),
    ]);
}
