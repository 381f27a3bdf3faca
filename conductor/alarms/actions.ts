/**
 * The operation that an alarm starts: made in the transaction that raises or clears the alarm, so that it
 * is there once, or not at all and the alarm is not either. It is made in the name of the rule's author,
 * who must still be allowed to. What cannot be made is said on the alarm.
 */
import type { EntityManager } from 'typeorm';
import type { AlarmAction } from '../../common/alarms/rules.ts';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import { recordAudit } from '../../common/db/queries/audit.ts';
import { requireAuthority } from '../../common/db/queries/authority.ts';
import type { NewEvent } from '../../common/db/queries/events.ts';
import { insertOperation } from '../../common/db/queries/operation-creation.ts';
import { resolveTargets } from '../../common/db/queries/operation-targets.ts';
import { readQuotaLimits, takeOperationPlace } from '../../common/db/queries/quotas.ts';
import { requireTargets } from '../../common/db/queries/require-targets.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { AppError } from '../../common/runtime/app-error.ts';

export interface StartedAction {
  operationId: string | null;
  error: string | null;
  /** Of the operation. */
  events: NewEvent[];
  board: string;
}

export async function startAction(
  manager: EntityManager,
  {
    rule,
    action,
    alarm,
    now,
    quotas,
  }: {
    rule: AlarmRuleRow;
    action: AlarmAction;
    alarm: { id: string; boardUuid: string };
    now: number;
    quotas: QuotaLimits;
  },
): Promise<StartedAction> {
  const board = action.board === 'same' ? alarm.boardUuid : action.board;
  await manager.query('SAVEPOINT alarm_action');
  try {
    const { id, events } = await makeOperation(manager, {
      rule,
      action,
      board,
      alarmId: alarm.id,
      now,
      quotas,
    });
    return { operationId: id, error: null, events, board };
  } catch (error) {
    // A quota, a board that is revoked, a procedure that is gone: the alarm is raised nevertheless.
    if (!(error instanceof AppError) || error.code === 'unavailable') throw error;
    await manager.query('ROLLBACK TO SAVEPOINT alarm_action');
    if (error.code === 'forbidden')
      await auditRefusal(manager, rule, { alarm: alarm.id, reason: error.message });
    return { operationId: null, error: `${error.code}: ${error.message}`.slice(0, 500), events: [], board };
  }
}

async function makeOperation(
  manager: EntityManager,
  {
    rule,
    action,
    board,
    alarmId,
    now,
    quotas,
  }: {
    rule: AlarmRuleRow;
    action: AlarmAction;
    board: string;
    alarmId: string;
    now: number;
    quotas: QuotaLimits;
  },
): Promise<{ id: string; events: NewEvent[] }> {
  const { tenantId } = rule;
  const { procedure, kwargs, delivery, attempts } = action;
  const { boards: scopeBoards } = await requireAuthority(manager, {
    tenantId,
    author: rule.author,
    procedure,
  });
  await takeOperationPlace(manager, tenantId, await readQuotaLimits(manager, tenantId, quotas));
  const target = { boards: [board] };
  const resolved = await resolveTargets(manager, { tenantId, target, scopeBoards, procedure, kwargs });
  requireTargets(resolved, { procedure });
  return insertOperation(manager, {
    tenantId,
    procedure,
    kwargs,
    target,
    delivery,
    deadlineAt: new Date(now + action.deadlineSeconds * 1000),
    attempts,
    parallel: false,
    createdBy: `alarm-rule:${rule.id}`,
    boards: resolved.included,
    evidence: { alarm: alarmId, rule: rule.id, ruleName: rule.name, author: rule.author },
  });
}

function auditRefusal(
  manager: EntityManager,
  { id, tenantId, name, author }: AlarmRuleRow,
  detail: { alarm: string; reason: string },
): Promise<void> {
  return recordAudit(manager, {
    tenantId,
    actorKind: 'process',
    actor: 'conductor',
    action: 'start-alarm-action',
    targetKind: 'alarm-rule',
    target: id,
    result: 'forbidden',
    detail: { name, author, ...detail },
  });
}
