/**
 * The outbox of readings, for consumers: what the ingest put in (outbox-append.ts), they take out. A
 * consumer is worked off by one process at a time (by a lease), in order; what it has had is deleted, so
 * there is no cursor that a late commit could be passed by.
 */
import type { EntityManager } from 'typeorm';
import type { ReadingConsumer } from '../entities/outbox.ts';
import type { OutboxPayload } from './outbox-append.ts';

export interface OutboxEntry extends OutboxPayload {
  id: number;
  boardUuid: string;
  spoolId: number;
  fromSeq: number;
  readingCount: number;
  /** Of the commit, by the database's clock, epoch milliseconds. */
  createdAt: number;
  /** The same, as a distance from now. */
  ageMs: number;
}

const rowsPerStatement = 5000;
const rowsPerTake = 1000;

/**
 * What a consumer has to get next, oldest first: whole batches, as many as stay within `maxReadings`,
 * one at the least. They stay until they are dropped.
 */
export async function takeFromOutbox(
  manager: EntityManager,
  consumerId: string,
  maxReadings: number,
): Promise<OutboxEntry[]> {
  const waiting = (await manager.query(
    `SELECT outbox_id AS id, reading_count AS readings FROM outbox_deliveries
     WHERE consumer_id = ? ORDER BY outbox_id LIMIT ?`,
    [consumerId, Math.min(maxReadings, rowsPerTake)],
  )) as { id: number | string; readings: number }[];
  const ids: number[] = [];
  let readings = 0;
  for (const each of waiting) {
    readings += each.readings;
    if (ids.length > 0 && readings > maxReadings) break;
    ids.push(Number(each.id));
  }
  if (ids.length === 0) return [];
  const rows = (await manager.query(
    `SELECT id, board_uuid AS boardUuid, spool_id AS spoolId, from_seq AS fromSeq,
            reading_count AS readingCount, payload, created_at AS createdAt,
            TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(3)) / 1000 AS ageMs
     FROM reading_outbox WHERE id IN (?) ORDER BY id`,
    [ids],
  )) as EntryRow[];
  return rows.map(({ payload, ...row }) => ({
    ...row,
    ...(JSON.parse(payload) as OutboxPayload),
    id: Number(row.id),
    fromSeq: Number(row.fromSeq),
    createdAt: row.createdAt.getTime(),
    ageMs: Number(row.ageMs),
  }));
}

interface EntryRow {
  id: number | string;
  boardUuid: string;
  spoolId: number;
  fromSeq: number | string;
  readingCount: number;
  payload: string;
  createdAt: Date;
  ageMs: number | string;
}

/**
 * The consumer is done with these. Answers with those that were still there: what was given up
 * meanwhile is counted as lost already. In the transaction that writes down what came of them.
 */
export async function dropDelivered(
  manager: EntityManager,
  consumerId: string,
  outboxIds: readonly number[],
): Promise<number[]> {
  if (outboxIds.length === 0) return [];
  await lockConsumer(manager, consumerId);
  const rows = (await manager.query(
    `SELECT outbox_id AS id, reading_count AS readings FROM outbox_deliveries
     WHERE consumer_id = ? AND outbox_id IN (?) ORDER BY outbox_id FOR UPDATE`,
    [consumerId, outboxIds],
  )) as DeliveryRow[];
  await removeDeliveries(manager, consumerId, rows);
  return rows.map(({ id }) => Number(id));
}

interface DeliveryRow {
  id: number | string;
  readings: number;
}

/** Whoever removes its deliveries waits here for others who do. */
async function lockConsumer(manager: EntityManager, consumerId: string): Promise<void> {
  await manager.query('SELECT id FROM reading_consumers WHERE id = ? FOR UPDATE', [consumerId]);
}

async function removeDeliveries(
  manager: EntityManager,
  consumerId: string,
  rows: readonly DeliveryRow[],
): Promise<number> {
  if (rows.length === 0) return 0;
  const readings = rows.reduce((sum, each) => sum + each.readings, 0);
  await manager.query('DELETE FROM outbox_deliveries WHERE consumer_id = ? AND outbox_id IN (?)', [
    consumerId,
    rows.map(({ id }) => id),
  ]);
  await manager.query('UPDATE reading_consumers SET taken = taken + ? WHERE id = ?', [readings, consumerId]);
  return readings;
}

export interface OutboxLimits {
  /** Readings that may wait for one consumer. */
  readings: number;
  ageSeconds: number;
}

/**
 * Gives up the oldest of what waits beyond the limits, at most a chunk at a time, counted at the
 * consumer. Answers with the readings that were lost by this.
 */
export async function loseOldest(
  manager: EntityManager,
  consumerId: string,
  limits: OutboxLimits,
): Promise<number> {
  await lockConsumer(manager, consumerId);
  const { waiting } = (await findStandings(manager, [consumerId])).get(consumerId) ?? noStanding;
  const oldest = (await manager.query(
    `SELECT outbox_id AS id, reading_count AS readings,
            created_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND AS isOld
     FROM outbox_deliveries WHERE consumer_id = ? ORDER BY outbox_id LIMIT ?`,
    [limits.ageSeconds, consumerId, rowsPerStatement],
  )) as (DeliveryRow & { isOld: number | string })[];
  let left = waiting;
  const lost: DeliveryRow[] = [];
  for (const each of oldest) {
    if (left <= limits.readings && Number(each.isOld) === 0) break;
    lost.push(each);
    left -= each.readings;
  }
  const readings = await removeDeliveries(manager, consumerId, lost);
  if (readings > 0)
    await manager.query(
      'UPDATE reading_consumers SET lost = lost + ?, lost_at = UTC_TIMESTAMP(3) WHERE id = ?',
      [readings, consumerId],
    );
  return readings;
}

export interface OutboxStanding {
  /** Readings. */
  waiting: number;
  /** Seconds that the oldest of them has waited; 0 when none does. */
  lagSeconds: number;
}

export const noStanding: OutboxStanding = { waiting: 0, lagSeconds: 0 };

/** How far consumers are behind; who is not is left out. */
export async function findStandings(
  manager: EntityManager,
  consumerIds: readonly string[],
): Promise<Map<string, OutboxStanding>> {
  if (consumerIds.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT consumer_id AS id, SUM(reading_count) AS waiting,
            TIMESTAMPDIFF(MICROSECOND, MIN(created_at), UTC_TIMESTAMP(3)) / 1000000 AS lagSeconds
     FROM outbox_deliveries WHERE consumer_id IN (?) GROUP BY consumer_id`,
    [consumerIds],
  )) as { id: string; waiting: number | string; lagSeconds: number | string }[];
  return new Map(
    rows.map((row) => [
      row.id,
      { waiting: Number(row.waiting), lagSeconds: Math.max(0, Number(row.lagSeconds)) },
    ]),
  );
}

export type ConsumerRow = Pick<ReadingConsumer, 'id' | 'tenantId' | 'kind'>;

export async function findConsumers(manager: EntityManager): Promise<ConsumerRow[]> {
  return manager.query('SELECT id, tenant_id AS tenantId, kind FROM reading_consumers');
}

/** From the agents' next look on (half a second) it gets what is stored for the tenant. */
export async function addConsumer(manager: EntityManager, consumer: ConsumerRow): Promise<void> {
  await manager.query(
    'INSERT INTO reading_consumers (id, tenant_id, kind, created_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))',
    [consumer.id, consumer.tenantId, consumer.kind],
  );
}

/** What waits for it is cleared by the conductors. */
export async function removeConsumer(manager: EntityManager, consumerId: string): Promise<void> {
  await manager.query('DELETE FROM reading_consumers WHERE id = ?', [consumerId]);
}
