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

/** What a run looks through: many more batches than come between two. */
const defaultReach = { batches: 50_000, windows: 4 } as const;

/**
 * The task that clears, window by window of so many batches. A run goes on where the last one of this
 * process ended: while much waits for a consumer that is behind, what others have had is found among it
 * piece by piece.
 */
export function createOutboxClearing({
  batches,
  windows,
}: {
  batches: number;
  windows: number;
} = defaultReach): (context: TaskContext) => Promise<JsonObject> {
  let place = 0;
  return async (context) => {
    const budget = createBudget(context, runMs);
    let cleared = 0;
    for (let window = 0; window < windows && !budget.spent(); window += 1) {
      const from = place;
      const to = await context.database.read((manager) => findWindowEnd(manager, from, batches));
      cleared += await clearDelivered(context, budget, { from, to });
      place = to ?? 0;
      if (place === 0) break;
    }
    return { cleared };
  };
}

/** A range of ids, the first not included; without an end, all that there are. */
interface Window {
  from: number;
  to: number | undefined;
}

async function findWindowEnd(
  manager: EntityManager,
  from: number,
  batches: number,
): Promise<number | undefined> {
  const [row] = (await manager.query(
    'SELECT id FROM reading_outbox WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?',
    [from, batches - 1],
  )) as { id: number }[];
  return row?.id;
}

async function clearDelivered(context: TaskContext, budget: Budget, window: Window): Promise<number> {
  let cleared = 0;
  for (let found = chunkRows; found === chunkRows && !budget.spent(); ) {
    const ids = await context.database.read((manager) => findDelivered(manager, window));
    if (ids.length > 0)
      await context.write((manager) => manager.query('DELETE FROM reading_outbox WHERE id IN (?)', [ids]));
    found = ids.length;
    cleared += found;
  }
  return cleared;
}

/** Rows and their deliveries are committed together: without any, it is done with. */
async function findDelivered(manager: EntityManager, { from, to }: Window): Promise<number[]> {
  const rows = (await manager.query(
    `SELECT o.id FROM reading_outbox o LEFT JOIN outbox_deliveries d ON d.outbox_id = o.id
     WHERE o.id > ? ${to === undefined ? '' : 'AND o.id <= ?'} AND d.outbox_id IS NULL ORDER BY o.id LIMIT ?`,
    [from, ...(to === undefined ? [] : [to]), chunkRows],
  )) as { id: number }[];
  return rows.map(({ id }) => id);
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
