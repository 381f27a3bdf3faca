/**
 * What the ingest puts into the outbox of readings: one row per stored batch, and one tiny row per consumer
 * of the tenant and batch. The consumers' side is outbox.ts.
 */
import type { EntityManager } from 'typeorm';
import type { ReadingTuple, ReadingType, ReadingValue } from '../../wamp/readings.ts';
import type { BatchOutcome, ResolvedBatch } from './ingest-plan.ts';

export interface OutboxStream {
  id: number;
  name: string;
  type: ReadingType;
  unit: string;
}

/** at: epoch milliseconds, as measured. */
export type OutboxReading = [streamIndex: number, at: number, value: ReadingValue, seq: number];

export interface OutboxPayload {
  streams: OutboxStream[];
  readings: OutboxReading[];
}

/** Who gets the readings of a tenant: ids of reading_consumers. */
export type ConsumersOf = (tenantId: string) => readonly string[];

const rowsPerStatement = 5000;

interface NewEntry {
  batch: ResolvedBatch;
  consumers: readonly string[];
  payload: OutboxPayload;
}

/**
 * Puts what is new of each batch into the outbox of its tenant's consumers; part of the transaction
 * that stores it. Answers with the consumers that got something. Only inserts: it waits for nobody.
 */
export async function appendToOutbox(
  manager: EntityManager,
  batches: readonly ResolvedBatch[],
  outcomes: readonly BatchOutcome[],
  { consumersOf, newestAt }: { consumersOf: ConsumersOf; newestAt: number },
): Promise<string[]> {
  const entries: NewEntry[] = [];
  for (const [index, batch] of batches.entries()) {
    const outcome = outcomes[index];
    const consumers = consumersOf(batch.tenantId);
    if (consumers.length === 0 || outcome?.ackedSeq === undefined) continue;
    const payload = payloadOf(batch, outcome.firstNew, newestAt);
    if (payload.readings.length > 0) entries.push({ batch, consumers, payload });
  }
  if (entries.length === 0) return [];
  // Of one board's batches the earlier one has the lower id.
  entries.sort(
    (left, right) => left.batch.spoolId - right.batch.spoolId || left.batch.from - right.batch.from,
  );
  const ids = await insertEntries(manager, entries);
  const deliveries = entries.flatMap(({ consumers, payload }, index) =>
    consumers.map((consumer) => ({ consumer, id: ids[index] as number, count: payload.readings.length })),
  );
  await insertDeliveries(manager, deliveries);
  return [...new Set(deliveries.map(({ consumer }) => consumer))];
}

function payloadOf({ streams, readings, from }: ResolvedBatch, firstNew: number, newestAt: number) {
  const payload: OutboxPayload = { streams: [], readings: [] };
  const places = new Map<number, number>();
  for (let index = firstNew; index < readings.length; index += 1) {
    const [streamIndex, at, value] = readings[index] as ReadingTuple;
    // Misdated: kept aside, and not shown as a reading either.
    if (at > newestAt) continue;
    let place = places.get(streamIndex);
    if (place === undefined) {
      const { id, name, type, unit } = streams[streamIndex] as OutboxStream;
      place = payload.streams.push({ id, name, type, unit }) - 1;
      places.set(streamIndex, place);
    }
    payload.readings.push([place, at, value, from + index]);
  }
  return payload;
}

/** The ids given, in the order of the entries. */
async function insertEntries(manager: EntityManager, entries: readonly NewEntry[]): Promise<number[]> {
  const bound: unknown[] = [];
  const tuples = entries.map(({ batch, payload }) => {
    bound.push(batch.tenantId, batch.boardUuid, JSON.stringify(payload));
    const { readings } = payload;
    return `(?,?,${batch.spoolId},${readings[0]?.[3]},${readings.length},?,UTC_TIMESTAMP(3))`;
  });
  const { insertId } = (await manager.query(
    `INSERT INTO reading_outbox (tenant_id, board_uuid, spool_id, from_seq, reading_count, payload, created_at)
     VALUES ${tuples.join(',')}`,
    bound,
  )) as { insertId: number | string };
  // An INSERT of VALUES gets its ids at once and in a row; their distance is the nodes of a cluster.
  const [row] = (await manager.query('SELECT @@SESSION.auto_increment_increment AS step')) as {
    step: number | string;
  }[];
  const step = Number(row?.step ?? 1);
  return entries.map((_, index) => Number(insertId) + index * step);
}

async function insertDeliveries(
  manager: EntityManager,
  deliveries: readonly { consumer: string; id: number; count: number }[],
): Promise<void> {
  for (let from = 0; from < deliveries.length; from += rowsPerStatement) {
    const bound: unknown[] = [];
    const tuples = deliveries.slice(from, from + rowsPerStatement).map(({ consumer, id, count }) => {
      bound.push(consumer);
      return `(?,${id},${count},UTC_TIMESTAMP(3))`;
    });
    await manager.query(
      `INSERT INTO outbox_deliveries (consumer_id, outbox_id, reading_count, created_at) VALUES ${tuples.join(',')}`,
      bound,
    );
  }
}
