/**
 * Keeps the outbox of readings small: batches that everybody has had are cleared, what a consumer is too
 * far behind with becomes a counted loss, and what waits for a consumer that is gone is dropped.
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
/** Each of `chunkRows` batches: a run looks through many more than come between two. */
const chunksPerRun = 20;

/**
 * The task that clears. A run goes on where the last one of this process ended: while much waits for a
 * consumer that is behind, what others have had is found among it piece by piece.
 */
export function createOutboxClearing(): (context: TaskContext) => Promise<JsonObject> {
  let place = 0;
  return async (context) => {
    const budget = createBudget(context, runMs);
    let cleared = 0;
    for (let chunk = 0; chunk < chunksPerRun && !budget.spent(); chunk += 1) {
      const batches = await context.database.read((manager) => lookThrough(manager, place));
      const delivered = batches.filter(({ waits }) => Number(waits) === 0).map(({ id }) => Number(id));
      if (delivered.length > 0)
        await context.write((manager) =>
          manager.query('DELETE FROM reading_outbox WHERE id IN (?)', [delivered]),
        );
      cleared += delivered.length;
      place = batches.length < chunkRows ? 0 : Number(batches.at(-1)?.id);
      if (place === 0) break;
    }
    return { cleared };
  };
}

/** Batches after a place. They and their deliveries are committed together: one without any is done with. */
async function lookThrough(
  manager: EntityManager,
  place: number,
): Promise<{ id: number | string; waits: number | string }[]> {
  return manager.query(
    `SELECT o.id, EXISTS (SELECT 1 FROM outbox_deliveries d WHERE d.outbox_id = o.id) AS waits
     FROM reading_outbox o WHERE o.id > ? ORDER BY o.id LIMIT ?`,
    [place, chunkRows],
  );
}

export async function limitOutbox(context: TaskContext, limits: OutboxLimits): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const lost = await trimConsumers(context, budget, limits);
  const dropped = await dropForNobody(context, budget);
  return { lost, dropped };
}

async function trimConsumers(context: TaskContext, budget: Budget, limits: OutboxLimits): Promise<number> {
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
