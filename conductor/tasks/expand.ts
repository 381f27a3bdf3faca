/**
 * Writes the targets of operations that have too many for the transaction that made them. The boards
 * wait in `pending_boards`, in their order; each chunk is a transaction, and how many rows there are
 * says where to go on. A chunk that is written again changes nothing.
 */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import {
  findSafety,
  inlineTargets,
  insertTargets,
  waveOfEach,
} from '../../common/db/queries/operation-creation.ts';
import { endOperations } from '../../common/db/queries/operation-ends.ts';
import { insertOperationEvents } from '../../common/db/queries/operation-events.ts';
import { findRollout } from '../../common/db/queries/rollouts.ts';
import type { TaskContext } from '../scheduler.ts';
import type { Budget } from './chunks.ts';

interface PreparingOperation {
  id: string;
  tenantId: string;
  procedure: string;
  deadlineAt: Date;
  notBefore: Date | null;
  boards: string[];
}

/** Answers with how many targets were written. */
export async function expandOperations(
  context: TaskContext,
  budget: Budget,
  onQueued: () => void,
): Promise<number> {
  let written = 0;
  const ids = await context.database.read(findPreparing);
  for (const id of ids) {
    const operation = await context.database.read((manager) => findPending(manager, id));
    if (!operation) continue;
    const rollout = await context.database.read((manager) => findRollout(manager, id));
    const waves = rollout && waveOfEach(operation.boards.length, rollout.options);
    const there = await context.database.read((manager) => countTargets(manager, id));
    // Rows of deleted boards may be gone: rather one chunk again than one board left out.
    for (let from = Math.floor(there / inlineTargets) * inlineTargets; from < operation.boards.length; ) {
      if (budget.spent()) return written;
      const part = operation.boards.slice(from, from + inlineTargets);
      written += await context.write((manager) => writeChunk(manager, operation, part, from, waves));
      if (!waves) onQueued();
      from += inlineTargets;
    }
    await context.write((manager) => activate(manager, operation));
  }
  return written;
}

async function findPreparing(manager: EntityManager): Promise<string[]> {
  const rows = (await manager.query(
    "SELECT id FROM operations WHERE state = 'preparing' ORDER BY target_count, id LIMIT 100",
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}

async function findPending(manager: EntityManager, id: string): Promise<PreparingOperation | undefined> {
  const [row] = (await manager.query(
    `SELECT id, tenant_id AS tenantId, procedure_name AS procedureName, deadline_at AS deadlineAt,
            not_before AS notBefore, pending_boards AS boards FROM operations WHERE id = ? AND state = 'preparing'`,
    [id],
  )) as (Omit<PreparingOperation, 'boards' | 'procedure'> & { boards: unknown; procedureName: string })[];
  if (!row) return undefined;
  const { procedureName, boards, ...rest } = row;
  return { ...rest, procedure: procedureName, boards: fromJsonColumn<string[] | null>(boards) ?? [] };
}

async function countTargets(manager: EntityManager, id: string): Promise<number> {
  const [row] = (await manager.query('SELECT COUNT(*) AS n FROM operation_targets WHERE operation_id = ?', [
    id,
  ])) as { n: number | string }[];
  return Number(row?.n ?? 0);
}

async function writeChunk(
  manager: EntityManager,
  operation: PreparingOperation,
  boards: readonly string[],
  from: number,
  waves: readonly number[] | undefined,
): Promise<number> {
  // Cancelled, or deleted, since it was read: whoever did that counts on no target being added.
  const state = (await manager.query(
    "UPDATE operations SET updated_at = UTC_TIMESTAMP(3) WHERE id = ? AND state = 'preparing'",
    [operation.id],
  )) as { affectedRows: number };
  if (state.affectedRows === 0) return 0;
  const safeties = await findSafety(manager, operation.procedure, boards);
  await insertTargets(
    manager,
    operation,
    boards.map((uuid, index) => ({
      uuid,
      safety: safeties.get(uuid) ?? null,
      wave: waves?.[from + index] ?? null,
    })),
  );
  return boards.length;
}

/** All targets are there. Those may all have ended by now. */
async function activate(manager: EntityManager, { id, tenantId, boards }: PreparingOperation): Promise<void> {
  const result = (await manager.query(
    `UPDATE operations SET state = 'active', pending_boards = NULL, version = version + 1,
            updated_at = UTC_TIMESTAMP(3) WHERE id = ? AND state = 'preparing'`,
    [id],
  )) as { affectedRows: number };
  if (result.affectedRows === 0) return;
  await insertOperationEvents(manager, [
    { operationId: id, boardUuid: null, kind: 'prepared', evidence: { targets: boards.length } },
  ]);
  const payload = { operation: id, state: 'active', at: new Date().toISOString() };
  const ends = await endOperations(manager, [id]);
  await appendEvents(manager, [{ tenantId, boardUuid: null, type: 'operation', payload }, ...ends]);
}
