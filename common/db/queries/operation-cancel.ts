/**
 * Cancelling: what was not sent ends at once; boards that have it are told to stop, and what they say
 * counts. A rollout lets no further boards in from the first moment on.
 */
import type { EntityManager } from 'typeorm';
import { AppError } from '../../runtime/app-error.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import type { Database } from '../database.ts';
import { readyBoards } from './board-queues.ts';
import { appendEvents } from './events.ts';
import { changeSelected, type FoundTarget, settleOperation } from './open-targets.ts';
import type { TargetChange } from './operation-changes.ts';
import { insertOperationEvents } from './operation-events.ts';
import { commandRollout } from './rollouts.ts';

const openStates = ['queued', 'dispatched', 'accepted', 'running'] as const;

export interface CancelOptions {
  /** uuids; null = the whole operation. */
  boards: readonly string[] | null;
  evidence: JsonObject;
}

/**
 * To be called once the cancellation itself is on record (`stopPreparing`, `stopRollout`). Answers the
 * boards that are to be told, and whether the operation has ended with this.
 */
export async function cancelTargets(
  database: Database,
  operation: { id: string },
  { boards, evidence }: CancelOptions,
): Promise<{ told: string[]; ended: boolean }> {
  const told: string[] = [];
  await changeSelected({
    database,
    operationId: operation.id,
    selection: { states: openStates, boards, where: "(t.state = 'queued' OR t.cancel_requested = 0)" },
    change: (target) => cancellationOf(target, evidence),
    async also(manager, changed) {
      const asked = changed.filter(({ set }) => set.cancelRequested === true);
      await readyBoards(manager, asked);
      told.push(...asked.map(({ boardUuid }) => boardUuid));
    },
  });
  return { told: [...new Set(told)], ended: await settleOperation(database, operation.id) };
}

function cancellationOf(target: FoundTarget, evidence: JsonObject): TargetChange {
  const { boardUuid, operationId, tenantId, version, state, attempt } = target;
  const key = { boardUuid, operationId, tenantId, version, from: state };
  const numbered = attempt > 0 ? { attempt } : {};
  if (state !== 'queued')
    return {
      ...key,
      set: { cancelRequested: true },
      event: { kind: 'cancel-requested', ...numbered, evidence },
    };
  const error = { code: 'cancelled', message: 'cancelled before it was sent' };
  return {
    ...key,
    set: { state: 'cancelled', error, notBefore: null },
    event: { kind: 'cancelled', ...numbered, evidence: { ...evidence, error } },
  };
}

/**
 * Of an operation whose targets are still being written: no more of them are. Boards that have no
 * target yet never get one. True when there was none at all, so that the operation has ended with this.
 * Throws AppError `conflict` when only some boards are to be cancelled.
 */
export async function stopPreparing(
  database: Database,
  { id, tenantId }: { id: string; tenantId: string },
  { boards, evidence }: CancelOptions,
): Promise<boolean> {
  if (boards !== null)
    throw new AppError('conflict', 'the targets of the operation are being written; ask again in a moment');
  return database.transaction(async (manager) => {
    const [row] = (await manager.query('SELECT state FROM operations WHERE id = ? FOR UPDATE', [id])) as {
      state: string;
    }[];
    if (row?.state !== 'preparing') return false;
    const written = await countWritten(manager, id);
    const state = written === 0 ? 'cancelled' : 'active';
    await manager.query(
      `UPDATE operations SET state = ?, pending_boards = NULL, target_count = ?, version = version + 1,
              updated_at = UTC_TIMESTAMP(3), ended_at = ${written === 0 ? 'UTC_TIMESTAMP(3)' : 'NULL'}
       WHERE id = ?`,
      [state, written, id],
    );
    const stopped = { ...evidence, written };
    await insertOperationEvents(manager, [
      { operationId: id, boardUuid: null, kind: 'preparing-stopped', evidence: stopped },
    ]);
    const payload = { operation: id, state, at: new Date().toISOString() };
    await appendEvents(manager, [{ tenantId, boardUuid: null, type: 'operation', payload }]);
    return written === 0;
  });
}

async function countWritten(manager: EntityManager, operationId: string): Promise<number> {
  const [row] = (await manager.query(
    'SELECT COUNT(*) AS count FROM operation_targets WHERE operation_id = ?',
    [operationId],
  )) as { count: number | string }[];
  return Number(row?.count ?? 0);
}

/** Lets no further boards in. One that has come to its end by itself is as it should be. */
export async function stopRollout(database: Database, operationId: string, by: string): Promise<void> {
  try {
    await database.transaction(async (manager) => {
      const events = await commandRollout(manager, operationId, 'abort', by, `cancelled by ${by}`);
      await appendEvents(manager, events);
    });
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'conflict')) throw error;
    if (endedRollouts.has(error.details.state)) return;
    throw error;
  }
}

const endedRollouts: ReadonlySet<unknown> = new Set(['aborted', 'finished']);
