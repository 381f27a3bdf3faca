/** Removes operations that ended long ago, with all that belongs to them, and artifacts past their time. */
import type { EntityManager } from 'typeorm';
import { removeExpiredArtifacts, removeOrphans, sweepParts } from '../../common/artifacts/retention.ts';
import type { ArtifactStore } from '../../common/artifacts/store.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Rules } from '../config.ts';
import type { TaskContext } from '../scheduler.ts';
import { createBudget, deleteInChunks } from './chunks.ts';

const runMs = 30_000;
const operationsAtOnce = 200;

/** The operations go last: what a run that ends early leaves is found again by them. */
const belongings = [
  ['operation_events', 'operation_id', 'id'],
  ['operation_targets', 'operation_id', 'operation_id, state, board_uuid'],
  ['rollouts', 'operation_id', 'operation_id'],
  ['operations', 'id', 'id'],
] as const;

export async function trimOperations(
  context: TaskContext,
  { operationDays }: Pick<Rules, 'operationDays'>,
): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const done = { operations: 0, rows: 0 };
  while (!budget.spent()) {
    const ids = await context.database.read((manager) => findOld(manager, operationDays));
    if (ids.length === 0) return { ...done, complete: true };
    for (const [table, key, order] of belongings) {
      const sql = `DELETE FROM ${table} WHERE ${key} IN (?) ORDER BY ${order} LIMIT ?`;
      const { deleted, complete } = await deleteInChunks(context, budget, sql, [ids]);
      done.rows += deleted;
      if (!complete) return { ...done, complete: false };
    }
    done.operations += ids.length;
  }
  return { ...done, complete: false };
}

async function findOld(manager: EntityManager, days: number): Promise<string[]> {
  const rows = (await manager.query(
    'SELECT id FROM operations WHERE ended_at < UTC_TIMESTAMP(3) - INTERVAL ? DAY ORDER BY ended_at LIMIT ?',
    [days, operationsAtOnce],
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}

const artifactsAtOnce = 200;

/** Without a directory of artifacts there are none. */
export async function trimArtifacts(
  context: TaskContext,
  store: ArtifactStore | undefined,
): Promise<JsonObject> {
  if (!store) return { artifacts: 0 };
  const budget = createBudget(context, runMs);
  let artifacts = 0;
  for (;;) {
    const removed = await removeExpiredArtifacts(context.database, store, artifactsAtOnce);
    artifacts += removed;
    if (removed < artifactsAtOnce) break;
    if (budget.spent()) return { artifacts, complete: false };
  }
  const parts = await sweepParts(context.database, store);
  const orphans = await removeOrphans(context.database, store);
  return { artifacts, parts, orphans, complete: true };
}
