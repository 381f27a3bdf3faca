/**
 * Removes what outlived its retention and is not gone with a partition: readings of tenants that
 * keep less than the installation, and the rollups of both. The work list is `streams.first_at`,
 * which is put right when a stream is done; so a run that ends early loses nothing, and a stream
 * with nothing to remove costs nothing.
 */
import type { EntityManager } from 'typeorm';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Retention } from '../config.ts';
import type { TaskContext } from '../scheduler.ts';
import { type Budget, createBudget, deleteInChunks } from './chunks.ts';
import { retentionCutoff } from './partition-plan.ts';

const runMs = 60_000;
const streamsAtOnce = 100;

interface Scope {
  /** undefined = every tenant. */
  tenantId: string | undefined;
  retentionDays: number;
}

export async function trimStreams(context: TaskContext, rules: Retention): Promise<JsonObject> {
  const now = await context.database.read(getDatabaseTime);
  const budget = createBudget(context, runMs);
  const progress = { streams: 0, readings: 0, rollups: 0, complete: true };
  const scopes: Scope[] = [
    { tenantId: undefined, retentionDays: rules.retentionDays },
    ...(await context.database.read((manager) => findShorterTenants(manager, rules.retentionDays))),
  ];
  for (const { tenantId, retentionDays } of scopes) {
    const cutoff = retentionCutoff(now, retentionDays);
    let after = 0;
    for (;;) {
      const from = after;
      const ids = await context.database.read((manager) => findOldStreams(manager, tenantId, cutoff, from));
      for (const id of ids) {
        const result = await trimStream(context, budget, id, cutoff);
        progress.readings += result.readings;
        progress.rollups += result.rollups;
        if (!result.complete) return { ...progress, complete: false };
        progress.streams += 1;
      }
      if (ids.length < streamsAtOnce) break;
      after = ids.at(-1) ?? after;
    }
  }
  return progress;
}

async function findShorterTenants(manager: EntityManager, retentionDays: number): Promise<Scope[]> {
  return manager.query(
    `SELECT id AS tenantId, reading_retention_days AS retentionDays FROM tenants WHERE reading_retention_days < ?`,
    [retentionDays],
  );
}

async function findOldStreams(
  manager: EntityManager,
  tenantId: string | undefined,
  cutoff: number,
  after: number,
): Promise<number[]> {
  const rows = (await manager.query(
    tenantId === undefined
      ? 'SELECT id FROM streams WHERE first_at < ? AND id > ? ORDER BY id LIMIT ?'
      : `SELECT s.id FROM boards b JOIN streams s ON s.board_uuid = b.uuid
         WHERE b.tenant_id = ? AND s.first_at < ? AND s.id > ? ORDER BY s.id LIMIT ?`,
    [...(tenantId === undefined ? [] : [tenantId]), cutoff, after, streamsAtOnce],
  )) as { id: number }[];
  return rows.map(({ id }) => id);
}

interface Trimmed {
  readings: number;
  rollups: number;
  complete: boolean;
}

async function trimStream(
  context: TaskContext,
  budget: Budget,
  id: number,
  cutoff: number,
): Promise<Trimmed> {
  const trimmed: Trimmed = { readings: 0, rollups: 0, complete: false };
  const remove = async (table: string, condition: string, order: string) => {
    const sql = `DELETE FROM ${table} WHERE stream_id = ? AND ${condition} < ? ORDER BY ${order} LIMIT ?`;
    return deleteInChunks(context, budget, sql, [id, cutoff]);
  };
  const readings = await remove('readings', 'at', 'at');
  trimmed.readings = readings.deleted;
  if (!readings.complete) return trimmed;
  // After the readings: the hours that are dirty from here on roll up to nothing.
  const dirty = await remove('rollup_dirty_hours', 'hour_at', 'hour_at');
  const minutes = await remove('reading_rollups', 'level = 60 AND at', 'at');
  const hours = await remove('reading_rollups', 'level = 3600 AND at', 'at');
  trimmed.rollups = minutes.deleted + hours.deleted;
  trimmed.complete = dirty.complete && minutes.complete && hours.complete;
  if (trimmed.complete) await context.write((manager) => putFirstRight(manager, id));
  return trimmed;
}

/**
 * The stream's row is locked before its readings are looked at: whoever stores a reading changes
 * the row in the same transaction, so nothing older can slip in between.
 */
async function putFirstRight(manager: EntityManager, id: number): Promise<void> {
  await manager.query('SELECT first_at FROM streams WHERE id = ? FOR UPDATE', [id]);
  const [row] = (await manager.query('SELECT MIN(at) AS firstAt FROM readings WHERE stream_id = ?', [
    id,
  ])) as {
    firstAt: number | null;
  }[];
  await manager.query('UPDATE streams SET first_at = ? WHERE id = ?', [row?.firstAt ?? null, id]);
}
