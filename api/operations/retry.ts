/** Trying again by hand: targets that have ended are queued once more, as their next attempt. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { readyBoards } from '../../common/db/queries/board-queues.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { changeSelected, type FoundTarget, settleOperation } from '../../common/db/queries/open-targets.ts';
import type { TargetChange } from '../../common/db/queries/operation-changes.ts';
import type { OperationState, TargetState } from '../../common/operations/states.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { OperationAccess } from './access.ts';
import { fault } from './operation-request.ts';

export interface RetryOptions {
  states: readonly TargetState[];
  /** uuids; null = all. */
  boards: readonly string[] | null;
  /** undefined = the operation's own, which must not have passed. */
  deadlineAt: Date | undefined;
  evidence: JsonObject;
}

/** Answers the boards that are to be looked at. Throws AppError `conflict` when there is nothing to retry. */
export async function retryTargets(
  database: Database,
  operation: OperationAccess,
  options: RetryOptions,
): Promise<string[]> {
  const deadlineAt = await database.transaction((manager) => reopen(manager, operation, options));
  try {
    return await changeSelected({
      database,
      operationId: operation.id,
      selection: options,
      change: (target) => retryOf(target, options.evidence),
      async also(manager, changed) {
        await raiseLimits(manager, operation.id, changed, deadlineAt);
        await readyBoards(manager, changed);
      },
    });
  } finally {
    // When somebody else took the targets meanwhile it is as ended as before.
    await settleOperation(database, operation.id);
  }
}

/** The operation is active again, before its targets are: an end that is decided meanwhile is put right. */
async function reopen(
  manager: EntityManager,
  { id, tenantId }: OperationAccess,
  { states, boards, deadlineAt }: RetryOptions,
): Promise<Date> {
  const [row] = (await manager.query(
    'SELECT state, deadline_at AS deadlineAt, UTC_TIMESTAMP(3) AS now FROM operations WHERE id = ? FOR UPDATE',
    [id],
  )) as { state: OperationState; deadlineAt: Date; now: Date }[];
  if (!row) throw new AppError('not-found', 'there is no such operation');
  if (row.state === 'preparing')
    throw new AppError('conflict', 'the targets of the operation are being written');
  if (deadlineAt === undefined && row.deadlineAt <= row.now)
    throw fault('/deadline', 'is required: the one of the operation has passed');
  const some = (await manager.query(
    `SELECT 1 FROM operation_targets WHERE operation_id = ? AND state IN (?)
     ${boards ? 'AND board_uuid IN (?)' : ''} LIMIT 1`,
    [id, states, ...(boards ? [boards] : [])],
  )) as unknown[];
  if (some.length === 0)
    throw new AppError('conflict', `no target is ${states.join(' or ')}`, { details: { state: row.state } });
  const unsent = (await manager.query(
    `SELECT 1 FROM rollouts r JOIN operation_targets t ON t.operation_id = r.operation_id
     WHERE r.operation_id = ? AND r.state = 'aborted' AND t.state = 'queued' AND t.queue = 0 LIMIT 1`,
    [id],
  )) as unknown[];
  // Nobody would ever let them in, or cancel them, once the rollout is not aborted any more.
  if (unsent.length > 0)
    throw new AppError('conflict', 'what the aborted rollout did not send is being cancelled; ask again', {
      details: { state: row.state },
    });
  const until = deadlineAt ?? row.deadlineAt;
  await manager.query(
    `UPDATE operations SET state = 'active', ended_at = NULL, deadline_at = ?, version = version + 1,
            updated_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [until, id],
  );
  // An aborted rollout has everything cancelled that is queued; what is retried goes by itself.
  await manager.query(
    `UPDATE rollouts SET state = 'finished', version = version + 1, updated_at = UTC_TIMESTAMP(3)
     WHERE operation_id = ? AND state = 'aborted'`,
    [id],
  );
  if (row.state !== 'active') {
    const payload = { operation: id, state: 'active', at: new Date().toISOString() };
    await appendEvents(manager, [{ tenantId, boardUuid: null, type: 'operation', payload }]);
  }
  return until;
}

function retryOf(target: FoundTarget, evidence: JsonObject): TargetChange {
  const { boardUuid, operationId, tenantId, version, state, attempt } = target;
  // What was never sent has had no attempt yet.
  const next = attempt === 0 ? 0 : attempt + 1;
  return {
    boardUuid,
    operationId,
    tenantId,
    version,
    from: state,
    set: {
      state: 'queued',
      attempt: next,
      deliveries: 0,
      notBefore: null,
      cancelRequested: false,
      sessionId: null,
      journalEpoch: null,
      progress: null,
      result: null,
      error: null,
      dispatchedAt: null,
      acceptedAt: null,
    },
    event: { kind: 'retried', ...(next > 0 && { attempt: next }), evidence: { ...evidence, after: state } },
  };
}

/** The new deadline of those targets, and as many attempts as the furthest of them needs. */
async function raiseLimits(
  manager: EntityManager,
  operationId: string,
  changed: readonly TargetChange[],
  deadlineAt: Date,
): Promise<void> {
  if (changed.length === 0) return;
  await manager.query(
    'UPDATE operation_targets SET deadline_at = ? WHERE operation_id = ? AND board_uuid IN (?)',
    [deadlineAt, operationId, changed.map(({ boardUuid }) => boardUuid)],
  );
  const most = Math.max(...changed.map(({ set }) => set.attempt ?? 0));
  // Active once more: its end may have been noted again since it was opened, while it had no open target.
  await manager.query(
    "UPDATE operations SET state = 'active', ended_at = NULL, max_attempts = GREATEST(max_attempts, ?) WHERE id = ?",
    [Math.max(1, most), operationId],
  );
}
