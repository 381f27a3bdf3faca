/** Day partitions of `readings`. Each change is one DDL statement that may be repeated. */
import type { EntityManager } from 'typeorm';

export const dayMs = 86_400_000;

export interface DayPartition {
  name: string;
  /** Epoch milliseconds: it holds readings measured before this. */
  beforeAt: number;
}

/** 1493 not increasing, 1507 no such partition, 1517 same name: another process did it already. */
const doneByAnother = new Set([1493, 1507, 1517]);

/**
 * Seconds that a change waits for queries in progress. Short, because everything that comes after
 * a waiting change waits too, ingest included; a change that fails is tried again later.
 */
const waitSeconds = 1;

export function startOfDay(at: number): number {
  return Math.floor(at / dayMs) * dayMs;
}

/** Partitions for the days from `endAt`, where the last one ends, to the one that holds `at`. */
export function listMissingDays(endAt: number, at: number): DayPartition[] {
  const missing: DayPartition[] = [];
  for (let beforeAt = endAt + dayMs; beforeAt <= startOfDay(at) + dayMs; beforeAt += dayMs)
    missing.push({ name: partitionName(beforeAt), beforeAt });
  return missing;
}

/** Named by the day it holds. */
function partitionName(beforeAt: number): string {
  return `p${new Date(beforeAt - dayMs).toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/** In ascending order. */
export async function listPartitions(manager: EntityManager): Promise<DayPartition[]> {
  const rows = (await manager.query(
    `SELECT partition_name AS name, partition_description AS beforeAt FROM information_schema.partitions
     WHERE table_schema = DATABASE() AND table_name = 'readings' AND partition_name IS NOT NULL
     ORDER BY partition_ordinal_position`,
  )) as { name: string; beforeAt: string }[];
  return rows.map((row) => ({ name: row.name, beforeAt: Number(row.beforeAt) }));
}

/** @param manager of a transaction, so that all statements use one connection */
export async function addPartitions(manager: EntityManager, add: readonly DayPartition[]): Promise<void> {
  if (add.length === 0) return;
  const list = add.map(({ name, beforeAt }) => `PARTITION ${name} VALUES LESS THAN (${beforeAt})`);
  await alterReadings(manager, `ADD PARTITION (${list.join(', ')})`);
}

/** @param manager of a transaction, so that all statements use one connection */
export async function dropPartition(manager: EntityManager, name: string): Promise<void> {
  await alterReadings(manager, `DROP PARTITION ${name}`);
}

async function alterReadings(manager: EntityManager, change: string): Promise<void> {
  await manager.query(`SET SESSION lock_wait_timeout = ${waitSeconds}`);
  try {
    await manager.query(`ALTER TABLE readings ${change}`);
  } catch (error) {
    if (!doneByAnother.has((error as { errno?: number }).errno ?? 0)) throw error;
  } finally {
    await manager.query('SET SESSION lock_wait_timeout = DEFAULT');
  }
}
