/** Sinks and their dead letters in the database; each function is one step of a transaction. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import type { ReadingConsumer } from '../../common/db/entities/outbox.ts';
import type { SinkDeadLetter, StoredSink } from '../../common/db/entities/sinks.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { findStandings, noStanding, type OutboxStanding } from '../../common/db/queries/outbox.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { type SinkKind, sinkLimits } from '../../common/sinks/settings.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';

export interface SinkRow
  extends Omit<StoredSink, 'tenantId' | 'secrets'>,
    Pick<ReadingConsumer, 'taken' | 'lost' | 'lostAt'> {
  tenant: string;
  kind: SinkKind;
  hasSecrets: number;
  standing: OutboxStanding;
}

const columns = `s.id, s.tenant_id AS tenant, s.name, s.kind, s.settings, s.filter, s.secrets IS NOT NULL AS hasSecrets,
  s.batch_size AS batchSize, s.max_age_ms AS maxAgeMs, s.state, s.state_reason AS stateReason, s.delivered, s.rejected,
  s.skipped, s.duplicate, s.dropped_letters AS droppedLetters, c.taken, c.lost, c.lost_at AS lostAt,
  s.failing_since AS failingSince, s.retry_at AS retryAt, s.last_error AS lastError, s.last_error_at AS lastErrorAt,
  s.last_delivered_at AS lastDeliveredAt, s.created_by AS createdBy, s.version, s.created_at AS createdAt,
  s.updated_at AS updatedAt`;
const source = 'sinks s JOIN reading_consumers c ON c.id = s.id';

async function withStandings(manager: EntityManager, rows: SinkRow[]): Promise<SinkRow[]> {
  const standings = await findStandings(
    manager,
    rows.map(({ id }) => id),
  );
  return rows.map((row) => ({
    ...row,
    settings: fromJsonColumn(row.settings),
    filter: fromJsonColumn(row.filter),
    standing: standings.get(row.id) ?? noStanding,
  }));
}

/** By name, and by id among the same names of several tenants. */
export async function listSinkRows(
  manager: EntityManager,
  tenants: readonly string[] | 'all',
  page: PageRequest,
): Promise<SinkRow[]> {
  if (tenants.length === 0) return [];
  const [name, id] = page.after ?? [];
  const rows = (await manager.query(
    `SELECT ${columns} FROM ${source} WHERE ${tenants === 'all' ? 'TRUE' : 's.tenant_id IN (?)'}
     ${page.after ? 'AND (s.name > ? OR (s.name = ? AND s.id > ?))' : ''} ORDER BY s.name, s.id LIMIT ?`,
    [...(tenants === 'all' ? [] : [tenants]), ...(page.after ? [name, name, id] : []), page.limit + 1],
  )) as SinkRow[];
  return withStandings(manager, rows);
}

/** Throws AppError `not-found`. @param lock for a change */
export async function readSinkRow(
  manager: EntityManager,
  id: string,
  { lock = false }: { lock?: boolean } = {},
): Promise<SinkRow> {
  const rows = (await manager.query(
    `SELECT ${columns} FROM ${source} WHERE s.id = ?${lock ? ' FOR UPDATE' : ''}`,
    [id],
  )) as SinkRow[];
  const [row] = await withStandings(manager, rows);
  if (!row) throw new AppError('not-found', 'there is no such sink');
  return row;
}

const time = (value: Date | null) => value?.toISOString() ?? null;

/** `received = delivered + rejected + skipped + lost + waiting`. */
export function toSink(row: SinkRow): Schemas['Sink'] {
  const { standing, taken, delivered, rejected, skipped, lost, duplicate, droppedLetters, ...rest } = row;
  const { waiting, lagSeconds } = standing;
  return {
    ...rest,
    hasSecrets: row.hasSecrets === 1,
    flow: flowOf(row),
    counts: {
      received: taken + waiting,
      delivered,
      rejected,
      skipped,
      lost,
      waiting,
      duplicate,
      droppedDeadLetters: droppedLetters,
    },
    lagSeconds: waiting === 0 ? 0 : Math.round(lagSeconds * 1000) / 1000,
    failingSince: time(row.failingSince),
    retryAt: time(row.retryAt),
    lastErrorAt: time(row.lastErrorAt),
    lastDeliveredAt: time(row.lastDeliveredAt),
    lostAt: time(row.lostAt),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function flowOf({ state, failingSince }: SinkRow): Schemas['Sink']['flow'] {
  if (state !== 'active') return 'stopped';
  return failingSince ? 'retrying' : 'flowing';
}

/** Throws AppError `quota-exceeded`. */
export async function requireRoom(manager: EntityManager, tenantId: string): Promise<void> {
  // Others that make one wait here: the number holds exactly.
  await manager.query('SELECT id FROM tenants WHERE id = ? FOR UPDATE', [tenantId]);
  const [row] = (await manager.query('SELECT COUNT(*) AS count FROM sinks WHERE tenant_id = ?', [
    tenantId,
  ])) as { count: number | string }[];
  const used = Number(row?.count ?? 0);
  const limit = sinkLimits.perTenant;
  if (used >= limit)
    throw new AppError('quota-exceeded', `the tenant may have ${limit} sinks and has ${used}`, {
      details: { limit, used },
    });
}

export type LetterRow = Omit<SinkDeadLetter, 'sinkId'>;

export function toLetter(row: LetterRow): Schemas['SinkDeadLetter'] {
  return {
    id: String(row.id),
    state: row.kind === 'replay' ? 'replay' : 'kept',
    reason: row.reason,
    point: fromJsonColumn(row.point),
    createdAt: row.createdAt.toISOString(),
  };
}

/** Newest first. */
export async function listLetterRows(
  manager: EntityManager,
  sinkId: string,
  page: PageRequest,
): Promise<LetterRow[]> {
  return manager.query(
    `SELECT id, kind, reason, point, created_at AS createdAt FROM sink_dead_letters
     WHERE sink_id = ? AND kind <> 'test' ${page.after ? 'AND id < ?' : ''} ORDER BY id DESC LIMIT ?`,
    [sinkId, ...(page.after ?? []), page.limit + 1],
  );
}

/** A transaction stays under as many rows. */
const lettersAtOnce = 5000;

/** One that waits for its target tries now. */
async function tryNow(manager: EntityManager, sinkId: string): Promise<void> {
  await manager.query('UPDATE sinks SET retry_at = NULL WHERE id = ?', [sinkId]);
}

/** @param upTo an id; undefined = all. Answers with their number. */
export async function replayLetters(
  manager: EntityManager,
  sinkId: string,
  upTo: string | undefined,
): Promise<number> {
  const { affectedRows } = (await manager.query(
    `UPDATE sink_dead_letters SET kind = 'replay' WHERE sink_id = ? AND kind = 'rejected' AND id <= ?
     ORDER BY id LIMIT ?`,
    [sinkId, upTo ?? Number.MAX_SAFE_INTEGER, lettersAtOnce],
  )) as { affectedRows: number };
  await tryNow(manager, sinkId);
  return affectedRows;
}

/** For a sink that is being deleted: what is left goes with it. It may be done again. */
export async function clearLetters(database: Database, sinkId: string): Promise<void> {
  for (let deleted = lettersAtOnce; deleted === lettersAtOnce; ) {
    const result = await database.transaction<{ affectedRows: number }>((manager) =>
      manager.query('DELETE FROM sink_dead_letters WHERE sink_id = ? ORDER BY id LIMIT ?', [
        sinkId,
        lettersAtOnce,
      ]),
    );
    deleted = result.affectedRows;
  }
}

export async function dropLetters(
  manager: EntityManager,
  sinkId: string,
  upTo: string | undefined,
): Promise<number> {
  const { affectedRows } = (await manager.query(
    `DELETE FROM sink_dead_letters WHERE sink_id = ? AND kind = 'rejected' AND id <= ? ORDER BY id LIMIT ?`,
    [sinkId, upTo ?? Number.MAX_SAFE_INTEGER, lettersAtOnce],
  )) as { affectedRows: number };
  return affectedRows;
}

/** A point that is no reading; the conductors send it as they send replayed ones. */
export async function insertTestPoint(manager: EntityManager, sinkId: string): Promise<void> {
  const point = {
    id: `test:${sinkId}:${Date.now()}`,
    board: sinkId,
    boardName: 'boardwalk',
    stream: 'boardwalk/test',
    type: 'number',
    unit: '',
    at: Date.now(),
    value: 1,
  };
  // First, because the letter's reference locks the sink's row for others, too.
  await tryNow(manager, sinkId);
  await manager.query(
    `INSERT INTO sink_dead_letters (sink_id, kind, reason, point, created_at)
     VALUES (?, 'test', '', ?, UTC_TIMESTAMP(3))`,
    [sinkId, JSON.stringify(point)],
  );
}
