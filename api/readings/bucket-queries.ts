/** Buckets of one stream, from whatever answers them exactly and fastest. */
import type { EntityManager } from 'typeorm';
import { hourMs } from '../../common/db/queries/rollups.ts';
import { type Part, planParts } from './bucket-plan.ts';
import type { StreamRow } from './stream-queries.ts';
import type { Window } from './window.ts';

/** [start, min, avg, max, count] */
export type Bucket = [at: number, min: number, avg: number, max: number, count: number];

interface Aggregate {
  bucketAt: number;
  count: number | string;
  min: number;
  max: number;
  sum: number;
}

/** Ranges in one statement at the most. */
const rangesAtOnce = 100;

/**
 * @param manager of a transaction: which hours are dirty and the rollups of the others must be of one moment
 */
export async function readBuckets(
  manager: EntityManager,
  stream: StreamRow,
  window: Window,
  widthMs: number,
): Promise<Bucket[]> {
  const { firstAt, lastAt } = stream;
  if (firstAt === null || lastAt === null) return [];
  const within = {
    fromAt: Math.max(window.fromAt, firstAt),
    toAt: Math.min(window.toAt, lastAt + 1),
  };
  if (within.fromAt >= within.toAt) return [];
  const dirtyHours = await findDirtyHoursOf(manager, stream.id, within);
  const parts = planParts(within, widthMs, dirtyHours);
  const totals = new Map<number, { count: number; min: number; max: number; sum: number }>();
  for (const source of new Set(parts.map((part) => part.source))) {
    const ranges = parts.filter((part) => part.source === source);
    for (let start = 0; start < ranges.length; start += rangesAtOnce) {
      const some = ranges.slice(start, start + rangesAtOnce);
      for (const { bucketAt, ...found } of await aggregate(manager, stream.id, source, some, widthMs)) {
        const total = totals.get(bucketAt);
        const count = Number(found.count);
        if (!total) totals.set(bucketAt, { ...found, count });
        else {
          total.count += count;
          total.min = Math.min(total.min, found.min);
          total.max = Math.max(total.max, found.max);
          total.sum += found.sum;
        }
      }
    }
  }
  return [...totals]
    .sort(([a], [b]) => a - b)
    .map(([at, { count, min, max, sum }]) => [at, min, sum / count, max, count]);
}

async function findDirtyHoursOf(manager: EntityManager, streamId: number, window: Window): Promise<number[]> {
  const rows = (await manager.query(
    'SELECT hour_at AS hourAt FROM rollup_dirty_hours WHERE stream_id = ? AND hour_at > ? AND hour_at < ? ORDER BY hour_at',
    [streamId, window.fromAt - hourMs, window.toAt],
  )) as { hourAt: number }[];
  return rows.map(({ hourAt }) => hourAt);
}

async function aggregate(
  manager: EntityManager,
  streamId: number,
  source: Part['source'],
  ranges: readonly Window[],
  widthMs: number,
): Promise<Aggregate[]> {
  const raw = source === 'raw';
  const columns = raw
    ? 'COUNT(*) AS count, MIN(value_number) AS min, MAX(value_number) AS max, SUM(value_number) AS sum'
    : 'SUM(reading_count) AS count, MIN(min) AS min, MAX(max) AS max, SUM(sum) AS sum';
  const times = ranges.map(() => '(at >= ? AND at < ?)').join(' OR ');
  return manager.query(
    `SELECT at - at MOD ? AS bucketAt, ${columns}
     FROM ${raw ? 'readings' : 'reading_rollups'}
     WHERE stream_id = ? AND ${raw ? 'value_number IS NOT NULL' : 'level = ?'} AND (${times})
     GROUP BY bucketAt`,
    [widthMs, streamId, ...(raw ? [] : [source]), ...ranges.flatMap(({ fromAt, toAt }) => [fromAt, toAt])],
  );
}
