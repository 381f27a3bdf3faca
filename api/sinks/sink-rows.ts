/** Sinks and their dead letters in the database; each function is one step of a transaction. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { findStandings, noStanding, type OutboxStanding } from '../../common/db/queries/outbox.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { type SinkKind, sinkLimits } from '../../common/sinks/settings.ts';
import { refuseDuplicate } from '../http/name-taken.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';

export interface SinkRow {
  id: string;
  tenant: string;
  name: string;
  kind: SinkKind;
  settings: JsonObject;
  filter: JsonObject;
  hasSecrets: number;
  batchSize: number;
  maxAgeMs: number;
  state: 'active' | 'paused' | 'disabled';
  stateReason: string | null;
  delivered: number | string;
  rejected: number | string;
  skipped: number | string;
  duplicate: number | string;
  droppedLetters: number | string;
  taken: number | string;
  lost: number | string;
  lostAt: Date | null;
  failingSince: Date | null;
  retryAt: Date | null;
  lastError: string | null;
  lastErrorAt: Date | null;
  lastDeliveredAt: Date | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
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
  const { waiting, lagSeconds } = row.standing;
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    kind: row.kind,
    settings: row.settings,
    filter: row.filter,
    hasSecrets: Number(row.hasSecrets) === 1,
    batchSize: row.batchSize,
    maxAgeMs: row.maxAgeMs,
    state: row.state,
    stateReason: row.stateReason,
    flow: flowOf(row),
    counts: {
      received: Number(row.taken) + waiting,
      delivered: Number(row.delivered),
      rejected: Number(row.rejected),
      skipped: Number(row.skipped),
      lost: Number(row.lost),
      waiting,
      duplicate: Number(row.duplicate),
      droppedDeadLetters: Number(row.droppedLetters),
    },
    lagSeconds: waiting === 0 ? 0 : Math.round(lagSeconds * 1000) / 1000,
    failingSince: time(row.failingSince),
    retryAt: time(row.retryAt),
    lastError: row.lastError,
    lastErrorAt: time(row.lastErrorAt),
    lastDeliveredAt: time(row.lastDeliveredAt),
    lostAt: time(row.lostAt),
    createdBy: row.createdBy,
    version: row.version,
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

export async function insertSink(manager: EntityManager, values: Record<string, unknown>): Promise<void> {
  const names = Object.keys(values);
  await refuseDuplicate('uq_sinks_name', '/name', () =>
    manager.query(
      `INSERT INTO sinks (${names.join(', ')}, created_at, updated_at)
       VALUES (${names.map(() => '?').join(', ')}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      Object.values(values),
    ),
  );
}

export async function updateSinkRow(
  manager: EntityManager,
  id: string,
  values: Record<string, unknown>,
): Promise<void> {
  await refuseDuplicate('uq_sinks_name', '/name', () =>
    manager.query(
      `UPDATE sinks SET ${Object.keys(values)
        .map((name) => `${name} = ?, `)
        .join('')} version = version + 1, updated_at = UTC_TIMESTAMP(3) WHERE id = ?`,
      [...Object.values(values), id],
    ),
  );
}

export interface LetterRow {
  id: number | string;
  kind: string;
  reason: string;
  point: JsonObject;
  createdAt: Date;
}

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

/** @param upTo an id; undefined = all. Answers with their number. */
export async function replayLetters(
  manager: EntityManager,
  sinkId: string,
  upTo: string | undefined,
): Promise<number> {
  const { affectedRows } = (await manager.query(
    `UPDATE sink_dead_letters SET kind = 'replay' WHERE sink_id = ? AND kind = 'rejected' AND id <= ?
     ORDER BY id LIMIT 5000`,
    [sinkId, upTo ?? Number.MAX_SAFE_INTEGER],
  )) as { affectedRows: number };
  return affectedRows;
}

export async function dropLetters(
  manager: EntityManager,
  sinkId: string,
  upTo: string | undefined,
): Promise<number> {
  const { affectedRows } = (await manager.query(
    `DELETE FROM sink_dead_letters WHERE sink_id = ? AND kind = 'rejected' AND id <= ? ORDER BY id LIMIT 5000`,
    [sinkId, upTo ?? Number.MAX_SAFE_INTEGER],
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
  await manager.query(
    `INSERT INTO sink_dead_letters (sink_id, kind, reason, point, created_at)
     VALUES (?, 'test', '', ?, UTC_TIMESTAMP(3))`,
    [sinkId, JSON.stringify(point)],
  );
}
