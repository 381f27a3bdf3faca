/**
 * Stores a group of batches in one transaction: fences locked first, in one statement and a fixed
 * order; what is at or below a fence is skipped; the rest is inserted; fences advance; commit.
 * Safe to repeat after a commit of unknown outcome, because the fence tells what was stored.
 */
import type { EntityManager } from 'typeorm';
import type { ReadingValue } from '../../wamp/readings.ts';
import {
  type FenceChange,
  type Gap,
  type IngestPlan,
  planBatches,
  type ReadingRow,
  type ResolvedBatch,
  type StreamChange,
} from './ingest-plan.ts';
import { appendToOutbox, type ConsumersOf } from './outbox-append.ts';

export interface StoreOptions {
  newestAt: number;
  /** Hours that are known to be marked and cannot have been rolled up since need no new mark. */
  isMarked?: (streamId: number, hourAt: number) => boolean;
  /** Without, nothing goes into the outbox. */
  consumersOf?: ConsumersOf;
}

/** Rows of a transaction stay under this; one statement takes as many. */
export const rowsPerTransaction = 5000;

export async function storeBatches(
  manager: EntityManager,
  batches: readonly ResolvedBatch[],
  { newestAt, isMarked, consumersOf }: StoreOptions,
): Promise<IngestPlan> {
  const fences = await lockFences(manager, [...new Set(batches.map((each) => each.spoolId))]);
  const plan = planBatches(batches, { fences, newestAt });
  if (plan.fences.length === 0) return plan;
  await insertReadings(manager, plan.rows);
  await insertMisdated(manager, plan.misdated);
  await insertGaps(manager, plan.gaps);
  await addToStreams(manager, plan.streams);
  await markHours(
    manager,
    isMarked ? plan.dirtyHours.filter((each) => !isMarked(each.streamId, each.hourAt)) : plan.dirtyHours,
  );
  if (consumersOf && plan.rows.length > 0)
    plan.consumers = await appendToOutbox(manager, batches, plan.outcomes, { consumersOf, newestAt });
  await advanceFences(manager, plan.fences);
  return plan;
}

async function lockFences(manager: EntityManager, spoolIds: number[]): Promise<Map<number, number>> {
  const rows = (await manager.query(
    'SELECT id, acked_seq AS ackedSeq FROM board_spools WHERE id IN (?) ORDER BY id FOR UPDATE',
    [spoolIds.sort((left, right) => left - right)],
  )) as { id: number; ackedSeq: number | string }[];
  return new Map(rows.map((row) => [row.id, Number(row.ackedSeq)]));
}

/**
 * Numbers are written into the statement, texts are bound: escaping each of thousands of values
 * costs more than all the rest of a statement. An exponent makes a literal a DOUBLE, not a DECIMAL.
 */
function values(value: ReadingValue, bound: unknown[]): string {
  if (typeof value === 'string') {
    bound.push(value);
    return 'NULL,?';
  }
  if (typeof value === 'boolean') return value ? '1,NULL' : '0,NULL';
  const literal = String(value);
  return literal.includes('e') ? `${literal},NULL` : `${literal}e0,NULL`;
}

async function insertReadings(manager: EntityManager, rows: readonly ReadingRow[]): Promise<void> {
  if (rows.length === 0) return;
  const bound: unknown[] = [];
  const tuples = rows.map(
    (row) => `(${row.streamId},${row.at},${row.spoolId},${row.seq},${values(row.value, bound)})`,
  );
  await manager.query(
    `INSERT INTO readings (stream_id, at, spool_id, seq, value_number, value_text) VALUES ${tuples.join(',')}`,
    bound,
  );
}

async function insertMisdated(manager: EntityManager, rows: readonly ReadingRow[]): Promise<void> {
  if (rows.length === 0) return;
  const bound: unknown[] = [];
  const tuples = rows.map(
    (row) =>
      `(${row.spoolId},${row.seq},${row.streamId},${row.at},${values(row.value, bound)},UTC_TIMESTAMP(3))`,
  );
  await manager.query(
    `INSERT INTO misdated_readings (spool_id, seq, stream_id, at, value_number, value_text, received_at)
     VALUES ${tuples.join(',')}`,
    bound,
  );
}

async function insertGaps(manager: EntityManager, gaps: readonly Gap[]): Promise<void> {
  if (gaps.length === 0) return;
  const now = new Date();
  await manager.query('INSERT INTO reading_gaps (spool_id, from_seq, to_seq, reason, created_at) VALUES ?', [
    gaps.map((each) => [each.spoolId, each.fromSeq, each.toSeq, each.reason, now]),
  ]);
}

/** An upsert, because it is the one portable way to change many rows by different amounts at once. */
async function addToStreams(manager: EntityManager, changes: readonly StreamChange[]): Promise<void> {
  if (changes.length === 0) return;
  const bound: unknown[] = [];
  const tuples = changes.map(({ stream, boardUuid, count, firstAt, lastAt, lastValue }) => {
    bound.push(boardUuid, stream.name, stream.type, stream.unit);
    const last = values(lastValue, bound);
    return `(${stream.id},?,?,?,?,${firstAt},${lastAt},${last},${count},UTC_TIMESTAMP(3))`;
  });
  await manager.query(
    `INSERT INTO streams
       (id, board_uuid, name, type, unit, first_at, last_at, last_number, last_text, reading_count, created_at)
     VALUES ${tuples.join(',')}
     ON DUPLICATE KEY UPDATE
       reading_count = reading_count + VALUES(reading_count),
       last_number = IF(last_at IS NULL OR VALUES(last_at) >= last_at, VALUES(last_number), last_number),
       last_text = IF(last_at IS NULL OR VALUES(last_at) >= last_at, VALUES(last_text), last_text),
       first_at = IF(first_at IS NULL OR VALUES(first_at) < first_at, VALUES(first_at), first_at),
       last_at = IF(last_at IS NULL OR VALUES(last_at) > last_at, VALUES(last_at), last_at)`,
    bound,
  );
}

async function markHours(manager: EntityManager, hours: IngestPlan['dirtyHours']): Promise<void> {
  if (hours.length === 0) return;
  const tuples = hours.map((each) => `(${each.streamId},${each.hourAt},1)`);
  await manager.query(
    `INSERT INTO rollup_dirty_hours (stream_id, hour_at, mark) VALUES ${tuples.join(',')}
     ON DUPLICATE KEY UPDATE mark = mark + 1`,
  );
}

async function advanceFences(manager: EntityManager, fences: readonly FenceChange[]): Promise<void> {
  const bound: unknown[] = [];
  const tuples = fences.map((each) => {
    bound.push(each.boardUuid, each.epoch);
    return `(${each.spoolId},?,?,${each.ackedSeq},${each.received},${each.lost},${each.misdated},${each.duplicate},UTC_TIMESTAMP(3),UTC_TIMESTAMP(3))`;
  });
  await manager.query(
    `INSERT INTO board_spools
       (id, board_uuid, epoch, acked_seq, received, lost, misdated, duplicate, created_at, updated_at)
     VALUES ${tuples.join(',')}
     ON DUPLICATE KEY UPDATE
       acked_seq = VALUES(acked_seq),
       received = received + VALUES(received),
       lost = lost + VALUES(lost),
       misdated = misdated + VALUES(misdated),
       duplicate = duplicate + VALUES(duplicate),
       updated_at = VALUES(updated_at)`,
    bound,
  );
}

/** Where the newest partition of readings ends (epoch milliseconds, exclusive). */
export async function findReadingsEnd(manager: EntityManager): Promise<number> {
  const [row] = (await manager.query(
    `SELECT MAX(CAST(PARTITION_DESCRIPTION AS UNSIGNED)) AS newest FROM information_schema.PARTITIONS
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'readings'`,
  )) as { newest: number | string | null }[];
  return Number(row?.newest ?? 0);
}
