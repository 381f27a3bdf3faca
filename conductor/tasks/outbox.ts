/**
 * Keeps the outbox of readings small: what a consumer is too far behind with becomes a counted loss,
 * what waits for a consumer that is gone is dropped, and batches that everybody has had are cleared.
 */
import type { EntityManager } from 'typeorm';
import {
  findConsumers,
  findStandings,
  loseOldest,
  type OutboxLimits,
} from '../../common/db/queries/outbox.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';
import { type Budget, chunkRows, createBudget, deleteInChunks } from './chunks.ts';

const runMs = 20_000;

export interface OutboxObserver {
  onLost?: (kind: string, readings: number) => void;
}

export async function keepOutbox(
  context: TaskContext,
  limits: OutboxLimits,
  observer: OutboxObserver = {},
): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const lost = await trimConsumers(context, budget, limits, observer);
  const dropped = await dropForNobody(context, budget);
  const cleared = await clearDelivered(context, budget);
  return { lost, dropped, cleared };
}

async function trimConsumers(
  context: TaskContext,
  budget: Budget,
  limits: OutboxLimits,
  { onLost }: OutboxObserver,
): Promise<number> {
  const consumers = await context.database.read(findConsumers);
  const standings = await context.database.read((manager) =>
    findStandings(
      manager,
      consumers.map(({ id }) => id),
    ),
  );
  let total = 0;
  for (const { id, kind } of consumers) {
    const { waiting = 0, lagSeconds = 0 } = standings.get(id) ?? {};
    if (waiting <= limits.readings && lagSeconds <= limits.ageSeconds) continue;
    let ofConsumer = 0;
    for (let lost = 1; lost > 0 && !budget.spent(); ofConsumer += lost)
      lost = await context.write((manager) => loseOldest(manager, id, limits));
    if (ofConsumer === 0) continue;
    context.logger.warn(
      { consumer: id, kind, readings: ofConsumer },
      'readings were given up: too far behind',
    );
    onLost?.(kind, ofConsumer);
    total += ofConsumer;
  }
  return total;
}

/** A wamp-agent may put some in shortly after their consumer was deleted: the next run finds them. */
async function dropForNobody(context: TaskContext, budget: Budget): Promise<number> {
  const gone = (await context.database.read((manager) =>
    manager.query(
      `SELECT d.id FROM (SELECT DISTINCT consumer_id AS id FROM outbox_deliveries) d
       LEFT JOIN reading_consumers c ON c.id = d.id WHERE c.id IS NULL LIMIT 100`,
    ),
  )) as { id: string }[];
  let dropped = 0;
  for (const { id } of gone) {
    const sql = 'DELETE FROM outbox_deliveries WHERE consumer_id = ? ORDER BY outbox_id LIMIT ?';
    dropped += (await deleteInChunks(context, budget, sql, [id])).deleted;
  }
  return dropped;
}

async function clearDelivered(context: TaskContext, budget: Budget): Promise<number> {
  let cleared = 0;
  while (!budget.spent()) {
    const ids = await context.database.read(findDelivered);
    if (ids.length === 0) return cleared;
    await context.write((manager) => manager.query('DELETE FROM reading_outbox WHERE id IN (?)', [ids]));
    cleared += ids.length;
    if (ids.length < chunkRows) return cleared;
  }
  return cleared;
}

/** Rows and their deliveries are committed together: without any, it is done with. */
async function findDelivered(manager: EntityManager): Promise<number[]> {
  const rows = (await manager.query(
    `SELECT o.id FROM reading_outbox o LEFT JOIN outbox_deliveries d ON d.outbox_id = o.id
     WHERE d.outbox_id IS NULL ORDER BY o.id LIMIT ?`,
    [chunkRows],
  )) as { id: number | string }[];
  return rows.map(({ id }) => Number(id));
}
