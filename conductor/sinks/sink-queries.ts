/** What the delivery to sinks reads and writes. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { recordAudit } from '../../common/db/queries/audit.ts';
import { dropDelivered } from '../../common/db/queries/outbox.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { SinkKind } from '../../common/sinks/settings.ts';
import type { SinkPoint } from './sink-kind.ts';

/** Active sinks that have something to send. */
export async function findSinksWithWork(manager: EntityManager): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT s.id FROM sinks s WHERE s.state = 'active' AND (
       EXISTS (SELECT 1 FROM outbox_deliveries d WHERE d.consumer_id = s.id)
       OR EXISTS (SELECT 1 FROM sink_dead_letters l WHERE l.sink_id = s.id AND l.kind IN ('replay', 'test')))`,
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}

export interface SinkRow {
  id: string;
  tenantId: string;
  name: string;
  kind: SinkKind;
  settings: JsonObject;
  secrets: Buffer | null;
  filter: JsonObject;
  batchSize: number;
  maxAgeMs: number;
  state: string;
  /** How long its target is to be left alone; null when nobody says so: a test, a replay or a change clears it. */
  retryInMs: number | null;
  version: number;
}

export async function findSink(manager: EntityManager, id: string): Promise<SinkRow | undefined> {
  const [row] = (await manager.query(
    `SELECT id, tenant_id AS tenantId, name, kind, settings, secrets, filter, batch_size AS batchSize,
            max_age_ms AS maxAgeMs, state, version,
            GREATEST(0, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), retry_at) / 1000) AS retryInMs
     FROM sinks WHERE id = ?`,
    [id],
  )) as (Omit<SinkRow, 'settings' | 'filter'> & { settings: unknown; filter: unknown })[];
  if (!row) return undefined;
  const { settings, filter, retryInMs } = row;
  return {
    ...row,
    settings: fromJsonColumn(settings),
    filter: fromJsonColumn(filter),
    retryInMs: retryInMs === null ? null : Number(retryInMs),
  };
}

export async function findBoardNames(
  manager: EntityManager,
  uuids: readonly string[],
): Promise<Map<string, string>> {
  if (uuids.length === 0) return new Map();
  const rows = (await manager.query('SELECT uuid, name FROM boards WHERE uuid IN (?)', [uuids])) as {
    uuid: string;
    name: string;
  }[];
  return new Map(rows.map(({ uuid, name }) => [uuid, name]));
}

/** What became of the points of one batch of the outbox. */
export interface RowResult {
  outboxId: number;
  delivered: number;
  skipped: number;
  letters: { point: SinkPoint; reason: string }[];
}

/**
 * Counts what became of whole batches, keeps their dead letters, and drops them from the outbox: one
 * step of a transaction. Those that were given up meanwhile count as lost, and as nothing else.
 */
export async function recordRows(
  manager: EntityManager,
  sinkId: string,
  rows: readonly RowResult[],
): Promise<void> {
  const ids = rows.map(({ outboxId }) => outboxId);
  const dropped = new Set(await dropDelivered(manager, sinkId, ids));
  const counted = rows.filter(({ outboxId }) => dropped.has(outboxId));
  const letters = counted.flatMap((each) => each.letters);
  await insertLetters(manager, sinkId, letters);
  const sum = (of: (row: RowResult) => number) => counted.reduce((total, each) => total + of(each), 0);
  const delivered = sum((each) => each.delivered);
  await manager.query(
    `UPDATE sinks SET delivered = delivered + ?, skipped = skipped + ?, rejected = rejected + ?,
            failing_since = NULL, retry_at = NULL,
            last_delivered_at = IF(? > 0, UTC_TIMESTAMP(3), last_delivered_at)
     WHERE id = ?`,
    [delivered, sum((each) => each.skipped), letters.length, delivered, sinkId],
  );
  const [last] = letters.slice(-1);
  if (last) await noteError(manager, sinkId, last.reason);
}

async function insertLetters(
  manager: EntityManager,
  sinkId: string,
  letters: RowResult['letters'],
): Promise<void> {
  if (letters.length === 0) return;
  const now = new Date();
  await manager.query('INSERT INTO sink_dead_letters (sink_id, kind, reason, point, created_at) VALUES ?', [
    letters.map(({ point, reason }) => [sinkId, 'rejected', shorten(reason), JSON.stringify(point), now]),
  ]);
}

/** The time is the database's. */
async function noteError(manager: EntityManager, sinkId: string, reason: string): Promise<void> {
  await manager.query('UPDATE sinks SET last_error = ?, last_error_at = UTC_TIMESTAMP(3) WHERE id = ?', [
    shorten(reason),
    sinkId,
  ]);
}

const shorten = (text: string) => text.toWellFormed().slice(0, 300);

/** It takes nothing at the moment. */
export async function recordFailure(
  manager: EntityManager,
  sinkId: string,
  failure: { reason: string; retryMs: number; duplicate: number },
): Promise<void> {
  await manager.query(
    `UPDATE sinks SET failing_since = COALESCE(failing_since, UTC_TIMESTAMP(3)), duplicate = duplicate + ?,
            retry_at = UTC_TIMESTAMP(3) + INTERVAL ? SECOND WHERE id = ?`,
    [failure.duplicate, failure.retryMs / 1000, sinkId],
  );
  await noteError(manager, sinkId, failure.reason);
}

/** It cannot be worked with until somebody changes it. */
export async function disableSink(
  manager: EntityManager,
  { id, tenantId, name }: Pick<SinkRow, 'id' | 'tenantId' | 'name'>,
  reason: string,
): Promise<void> {
  const { affectedRows } = (await manager.query(
    "UPDATE sinks SET state = 'disabled', state_reason = ?, version = version + 1 WHERE id = ? AND state = 'active'",
    [shorten(reason), id],
  )) as { affectedRows: number };
  if (affectedRows === 0) return;
  await recordAudit(manager, {
    tenantId,
    actorKind: 'process',
    actor: 'conductor',
    action: 'disableSink',
    targetKind: 'sink',
    target: id,
    result: 'ok',
    detail: { name, reason: shorten(reason) },
  });
}

export interface LetterRow {
  id: number;
  kind: 'replay' | 'test';
  point: SinkPoint;
}

/** Dead letters that are to be sent again, oldest first. */
export async function findReplays(
  manager: EntityManager,
  sinkId: string,
  limit: number,
): Promise<LetterRow[]> {
  const rows = (await manager.query(
    `SELECT id, kind, point FROM sink_dead_letters WHERE sink_id = ? AND kind IN ('replay', 'test')
     ORDER BY id LIMIT ?`,
    [sinkId, limit],
  )) as { id: number | string; kind: LetterRow['kind']; point: unknown }[];
  return rows.map((row) => ({ id: Number(row.id), kind: row.kind, point: fromJsonColumn(row.point) }));
}

/** `rejected`: index among the letters → why. */
export async function recordReplays(
  manager: EntityManager,
  sinkId: string,
  letters: readonly LetterRow[],
  rejected: ReadonlyMap<number, string>,
): Promise<void> {
  const gone = letters.filter((letter, index) => !rejected.has(index) || letter.kind === 'test');
  if (gone.length > 0)
    await manager.query('DELETE FROM sink_dead_letters WHERE sink_id = ? AND id IN (?)', [
      sinkId,
      gone.map(({ id }) => id),
    ]);
  for (const [index, reason] of rejected) {
    await noteError(manager, sinkId, reason);
    const { id, kind } = letters[index] as LetterRow;
    if (kind === 'replay')
      await manager.query("UPDATE sink_dead_letters SET kind = 'rejected', reason = ? WHERE id = ?", [
        shorten(reason),
        id,
      ]);
  }
  const taken = letters.filter(({ kind }, index) => kind === 'replay' && !rejected.has(index)).length;
  const isWorking = letters.some((_, index) => !rejected.has(index));
  await manager.query(
    `UPDATE sinks SET delivered = delivered + ?, rejected = rejected - ?, failing_since = NULL, retry_at = NULL,
            last_delivered_at = IF(?, UTC_TIMESTAMP(3), last_delivered_at) WHERE id = ?`,
    [taken, taken, isWorking ? 1 : 0, sinkId],
  );
}
