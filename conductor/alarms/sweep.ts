/**
 * What no reading and no clock tells: that rules have changed, that boards have left the target of a rule
 * or were deleted, that streams are silent which nobody has watched yet. After each change of rules, and
 * every minute. In small transactions, each of which keeps evaluations of the tenant out, and each of
 * which may be the last: the next sweep goes on.
 */
import type { EntityManager } from 'typeorm';
import { watchSilence } from '../../common/alarms/silence.ts';
import { matchesPattern, toLikePattern } from '../../common/alarms/stream-pattern.ts';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import { beginEvaluation, findEnabledRules } from '../../common/db/queries/alarm-rules.ts';
import { targetCondition } from '../../common/db/queries/alarm-targets.ts';
import { type AlarmRow, alarmEvent, type ClearReason } from '../../common/db/queries/alarms.ts';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { clearedRow, readAlarms, updateAlarm } from './alarm-rows.ts';
import { evaluateBoards, findUnsettledBoards } from './boards.ts';
import { deleteStates, newWatched, writeStates } from './watched.ts';
import { type Written, writeChanges } from './write-changes.ts';

export const sweepEveryMs = 60_000;

export interface SweepOptions {
  write<T>(work: (manager: EntityManager) => Promise<T>): Promise<T>;
  quotas: QuotaLimits;
  /** After each commit. */
  onWritten: (written: Written) => void;
  /** Throws when the process stops. */
  check: () => void;
}

type Tell = (written: Written) => void;

const alarmsAtOnce = 500;
const statesAtOnce = 5000;
const streamsAtOnce = 1000;

export async function sweepTenant(tenantId: string, options: SweepOptions): Promise<void> {
  const sweep = await options.write((manager) => takeSweep(manager, tenantId));
  if (!sweep) return;
  const steps = createSteps(tenantId, options);
  await steps.repeat(true, (manager, _, tell) => clearOrphans(manager, tenantId, tell));
  // It looks at every state of the tenant, and without a change finds none.
  if (sweep.areRulesNew) await steps.repeat(true, (manager) => dropOldStates(manager, tenantId));
  const version = await options.write((manager) => markRulesSwept(manager, tenantId));
  // They were changed meanwhile: the next look begins again.
  if (version === undefined) return;
  steps.expect(version);
  for (const rule of await options.write((manager) => findEnabledRules(manager, tenantId))) {
    await steps.repeat(true, (manager, _, tell) => dropStrangers(manager, rule, tell));
    if (rule.condition.kind === 'noData')
      await steps.repeat(0, (manager, after) => seedSilence(manager, rule, after));
    if (rule.stream === null)
      await steps.repeat('', (manager, after, tell) =>
        settleBoards(manager, rule, after, { tell, quotas: options.quotas }),
      );
  }
}

/** undefined: another conductor does this minute's. After a change of rules nobody waits for another. */
async function takeSweep(
  manager: EntityManager,
  tenantId: string,
): Promise<{ areRulesNew: boolean } | undefined> {
  const set = await beginEvaluation(manager, tenantId);
  const { affectedRows } = (await manager.query(
    `UPDATE alarm_rule_sets SET swept_at = UTC_TIMESTAMP(3)
     WHERE tenant_id = ? AND (swept_version <> version OR swept_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND)`,
    [tenantId, sweepEveryMs / 1000],
  )) as { affectedRows: number };
  return set && affectedRows === 1 ? { areRulesNew: set.version !== set.sweptVersion } : undefined;
}

/** Steps in a transaction each, from a place to the next one; undefined = that was the last. */
function createSteps(tenantId: string, { write, check, onWritten }: SweepOptions) {
  let expected: number | undefined;
  return {
    /** With other rules than these nothing more is done. */
    expect(version: number) {
      expected = version;
    },
    async repeat<T>(
      start: T,
      step: (manager: EntityManager, place: T, tell: Tell) => Promise<T | undefined>,
    ): Promise<void> {
      let place: T | undefined = start;
      while (place !== undefined) {
        check();
        const at: T = place;
        let written: Written[] = [];
        place = await write(async (manager) => {
          written = [];
          const set = await beginEvaluation(manager, tenantId);
          if (expected !== undefined && set?.version !== expected) return undefined;
          return step(manager, at, (each) => void written.push(each));
        });
        for (const each of written) onWritten(each);
      }
    },
  };
}

/** Alarms that no enabled rule of today raised. */
async function clearOrphans(manager: EntityManager, tenantId: string, tell: Tell): Promise<true | undefined> {
  const rows = (await manager.query(
    `SELECT a.id, r.enabled FROM alarms a LEFT JOIN alarm_rules r ON r.id = a.rule_id
     WHERE a.tenant_id = ? AND a.open = 1 AND (r.id IS NULL OR r.enabled = 0 OR r.revision <> a.revision)
     ORDER BY a.id LIMIT ?`,
    [tenantId, alarmsAtOnce],
  )) as { id: string; enabled: number | null }[];
  const reasons = new Map(rows.map(({ id, enabled }) => [id, reasonOf(enabled)]));
  await clearAll(manager, reasons, tell);
  return rows.length < alarmsAtOnce ? undefined : true;
}

function reasonOf(enabled: number | null): ClearReason {
  if (enabled === null) return 'rule-deleted';
  return enabled === 0 ? 'rule-disabled' : 'rule-changed';
}

async function clearAll(
  manager: EntityManager,
  reasons: ReadonlyMap<string, ClearReason>,
  tell: Tell,
): Promise<void> {
  if (reasons.size === 0) return;
  const now = await getDatabaseTime(manager);
  const rows = (await readAlarms(manager, [...reasons.keys()])).map(
    (row): AlarmRow => clearedRow(row, { reason: reasons.get(row.id) ?? 'rule-changed', now }),
  );
  for (const row of rows) await updateAlarm(manager, row);
  // With how they stand: a rule that is enabled again, or a board that comes back, is watched from new.
  await manager.query(
    `DELETE s FROM alarm_states s JOIN alarms a ON a.id = s.alarm_id AND a.rule_id = s.rule_id
       AND a.stream_id = s.stream_id AND a.board_uuid = s.board_uuid
     WHERE a.id IN (?)`,
    [[...reasons.keys()]],
  );
  await appendEvents(
    manager,
    rows.map((row) =>
      alarmEvent(row, {
        state: 'cleared',
        change: 'cleared',
        value: null,
        reason: row.clearReason ?? 'rule-changed',
      }),
    ),
  );
  tell({ raised: 0, cleared: rows.length, boards: [] });
}

async function dropOldStates(manager: EntityManager, tenantId: string): Promise<true | undefined> {
  const [old] = (await manager.query(
    `SELECT s.rule_id AS ruleId, s.revision FROM (
       SELECT DISTINCT rule_id, revision FROM alarm_states WHERE tenant_id = ?) s
     LEFT JOIN alarm_rules r ON r.id = s.rule_id
     WHERE r.id IS NULL OR r.enabled = 0 OR r.revision <> s.revision LIMIT 1`,
    [tenantId],
  )) as { ruleId: string; revision: number }[];
  if (!old) return undefined;
  await manager.query('DELETE FROM alarm_states WHERE rule_id = ? AND revision = ? LIMIT ?', [
    old.ruleId,
    old.revision,
    statesAtOnce,
  ]);
  return true;
}

/** What earlier rules left is gone: answers with their version; undefined when they have been changed again. */
async function markRulesSwept(manager: EntityManager, tenantId: string): Promise<number | undefined> {
  const set = await beginEvaluation(manager, tenantId);
  if (!set) return undefined;
  const [left] = (await manager.query(
    `SELECT COUNT(*) AS count FROM alarms a LEFT JOIN alarm_rules r ON r.id = a.rule_id
     WHERE a.tenant_id = ? AND a.open = 1 AND (r.id IS NULL OR r.enabled = 0 OR r.revision <> a.revision)`,
    [tenantId],
  )) as { count: number | string }[];
  if (Number(left?.count ?? 0) > 0) return undefined;
  await manager.query(
    'UPDATE alarm_rule_sets SET swept_version = version, swept_at = UTC_TIMESTAMP(3) WHERE tenant_id = ?',
    [tenantId],
  );
  return set.version;
}

/** Boards that have left the rule's target, or were deleted. */
async function dropStrangers(
  manager: EntityManager,
  rule: AlarmRuleRow,
  tell: Tell,
): Promise<true | undefined> {
  const { sql, values } = await targetCondition(manager, rule.tenantId, rule.target);
  const rows = (await manager.query(
    `SELECT s.stream_id AS streamId, s.board_uuid AS boardUuid, s.alarm_id AS alarmId,
       EXISTS (SELECT 1 FROM boards x WHERE x.uuid = s.board_uuid) AS isThere
     FROM alarm_states s LEFT JOIN boards b ON b.uuid = s.board_uuid AND b.tenant_id = ? AND ${sql}
     WHERE s.rule_id = ? AND b.uuid IS NULL LIMIT ?`,
    [rule.tenantId, ...values, rule.id, alarmsAtOnce],
  )) as { streamId: number; boardUuid: string; alarmId: string | null; isThere: number | string }[];
  const reasons = new Map<string, ClearReason>();
  for (const { alarmId, isThere } of rows)
    if (alarmId !== null) reasons.set(alarmId, Number(isThere) === 1 ? 'out-of-target' : 'board-deleted');
  await clearAll(manager, reasons, tell);
  await deleteStates(
    manager,
    rows.map((row) => ({ rule, ...row })),
  );
  return rows.length < alarmsAtOnce ? undefined : true;
}

/** Streams that the rule watches and that have had no reading since it was made; answers with the last id. */
async function seedSilence(
  manager: EntityManager,
  rule: AlarmRuleRow,
  after: number,
): Promise<number | undefined> {
  const pattern = rule.stream ?? '';
  const { sql, values } = await targetCondition(manager, rule.tenantId, rule.target);
  const rows = (await manager.query(
    `SELECT t.id, t.board_uuid AS boardUuid, t.name, t.last_at AS lastAt, t.created_at AS createdAt
     FROM streams t JOIN boards b ON b.uuid = t.board_uuid
     LEFT JOIN alarm_states s ON s.rule_id = ? AND s.stream_id = t.id AND s.board_uuid = t.board_uuid
     WHERE b.tenant_id = ? AND t.id > ? AND t.name LIKE ? AND s.rule_id IS NULL AND ${sql}
     ORDER BY t.id LIMIT ?`,
    [rule.id, rule.tenantId, after, toLikePattern(pattern), ...values, streamsAtOnce],
  )) as { id: number; boardUuid: string; name: string; lastAt: number | string | null; createdAt: Date }[];
  const now = await getDatabaseTime(manager);
  const states = rows
    .filter(({ name }) => matchesPattern(pattern, name))
    .map(({ id, boardUuid, name, lastAt, createdAt }) => ({
      ...newWatched(rule, { boardUuid, streamId: id, stream: name }),
      watch: watchSilence(rule, Math.min(now, lastAt === null ? createdAt.getTime() : Number(lastAt))),
    }));
  await writeStates(manager, states);
  return rows.length < streamsAtOnce ? undefined : rows.at(-1)?.id;
}

async function settleBoards(
  manager: EntityManager,
  rule: AlarmRuleRow,
  after: string,
  { quotas, tell }: { quotas: QuotaLimits; tell: Tell },
): Promise<string | undefined> {
  const boards = await findUnsettledBoards(manager, rule, { after });
  const now = await getDatabaseTime(manager);
  const changes = await evaluateBoards(manager, rule, boards, now);
  tell(await writeChanges(manager, changes, { now, quotas }));
  return boards.at(-1);
}
