/**
 * Rolls up hours that are over and whose readings changed. How many at once follows from how long
 * the last batch took: an hour may hold ten readings or a million.
 */
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import {
  computeRollups,
  countDirtyHours,
  type DirtyHour,
  findDirtyHours,
  hourMs,
  storeRollups,
} from '../../common/db/queries/rollups.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { ConductorMetrics } from '../metrics.ts';
import type { TaskContext } from '../scheduler.ts';
import { createBudget } from './chunks.ts';

const runMs = 15_000;
/** Batches of readings that were on their way at the full hour have arrived by then. */
const settleMs = 30_000;
/** 61 rows an hour: one transaction stays under 5,000 rows. */
const maxHours = 80;
const batchTargetMs = 500;
/** So many mean that it is not the hours. */
const maxFailed = 20;

export async function rollDirtyHours(
  context: TaskContext,
  metrics: Pick<ConductorMetrics, 'dirtyHours'>,
): Promise<JsonObject> {
  const { database } = context;
  const budget = createBudget(context, runMs);
  const now = await database.read(getDatabaseTime);
  const beforeAt = Math.floor((now - settleMs) / hourMs) * hourMs;
  const failed = new Set<string>();
  let size = 16;
  let rolled = 0;
  while (!budget.spent()) {
    // Two of three from the new end; failed hours are found again, so they take no places.
    const take = {
      newest: Math.ceil((size * 2) / 3) + failed.size,
      oldest: Math.floor(size / 3) + failed.size,
    };
    const found = await database.read((manager) => findDirtyHours(manager, beforeAt, take));
    const hours = found.filter((hour) => !failed.has(keyOf(hour)));
    if (hours.length === 0) break;
    const startedAt = performance.now();
    const done = await rollBatch(context, hours);
    for (const hour of hours) if (!done.has(hour)) failed.add(keyOf(hour));
    rolled += done.size;
    if (failed.size > maxFailed) break;
    const tookMs = performance.now() - startedAt;
    size = tookMs > batchTargetMs ? Math.max(1, Math.floor(size / 2)) : Math.min(maxHours, size * 2);
  }
  const waiting = await database.read((manager) => countDirtyHours(manager, beforeAt));
  metrics.dirtyHours.set(waiting);
  return { rolled, failed: failed.size, waiting };
}

const keyOf = (hour: DirtyHour) => `${hour.streamId}/${hour.hourAt}`;

/** One hour that cannot be rolled must not hold up the others: it is found by trying one by one. */
async function rollBatch(context: TaskContext, hours: readonly DirtyHour[]): Promise<Set<DirtyHour>> {
  try {
    await roll(context, hours);
    return new Set(hours);
  } catch (error) {
    context.signal.throwIfAborted();
    if (error instanceof AppError) throw error;
    if (hours.length === 1) {
      context.logger.warn({ err: error, hour: hours[0] }, 'an hour cannot be rolled up, it stays dirty');
      return new Set();
    }
    const done = new Set<DirtyHour>();
    for (const hour of hours) for (const each of await rollBatch(context, [hour])) done.add(each);
    return done;
  }
}

async function roll(context: TaskContext, hours: readonly DirtyHour[]): Promise<void> {
  const rollups = await context.database.read((manager) => computeRollups(manager, hours), {
    deadlineMs: 30_000,
  });
  await context.write((manager) => storeRollups(manager, rollups, hours));
}
