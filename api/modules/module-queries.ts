/** Modules and sources in the database; each function is one step of a transaction. */
import type { EntityManager } from 'typeorm';
import type { BoardModule, BoardSource } from '../../common/db/entities/modules.ts';
import { differenceOf } from '../../common/db/queries/flow.ts';
import { countDevices, isStranger } from '../../common/db/queries/modules.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { type ModuleState, moduleLimits, moduleNamePattern } from '../../common/wamp/modules.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';
import { updateRow } from '../http/versioned-rows.ts';

export interface ModuleRow extends Omit<BoardModule, 'boardUuid' | 'tenantId' | 'countResets'> {
  board: string;
  boardName: string;
  tenant: string;
  resets: number;
}

const select = `SELECT m.board_uuid AS board, b.name AS boardName, m.tenant_id AS tenant, m.name, m.origin, m.state,
  m.board_state AS boardState, m.kind, m.description, m.source, m.received, m.duplicate, m.missed, m.late, m.restarted,
  m.bad_mac AS badMac, m.refused, m.last_seq AS lastSeq, m.counted_since AS countedSince, m.count_resets AS resets,
  m.first_seen_at AS firstSeenAt, m.last_seen_at AS lastSeenAt, m.reported_at AS reportedAt,
  m.decided_by AS decidedBy, m.decided_at AS decidedAt, m.version, m.created_at AS createdAt, m.updated_at AS updatedAt
  FROM modules m JOIN boards b ON b.uuid = m.board_uuid`;

const maybeTime = (time: Date | null) => time?.toISOString() ?? null;

function toModule(row: ModuleRow, streams: number): Schemas['Module'] {
  const {
    received,
    duplicate,
    missed,
    late,
    restarted,
    badMac,
    refused,
    lastSeq,
    countedSince,
    resets,
    ...rest
  } = row;
  return {
    ...rest,
    streams,
    sequence: {
      received,
      duplicate,
      missed,
      late,
      restarted,
      badMac,
      refused,
      lastSeq,
      countedSince: maybeTime(countedSince),
      resets,
    },
    firstSeenAt: maybeTime(row.firstSeenAt),
    lastSeenAt: maybeTime(row.lastSeenAt),
    reportedAt: maybeTime(row.reportedAt),
    decidedAt: maybeTime(row.decidedAt),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export interface ModuleFilter {
  state?: string;
  origin?: string;
}

/** Of one board, by name. */
export async function listModuleRows(
  manager: EntityManager,
  boardUuid: string,
  { state, origin }: ModuleFilter,
  page: PageRequest,
): Promise<ModuleRow[]> {
  return manager.query(
    `${select} WHERE m.board_uuid = ? ${state === undefined ? '' : 'AND m.state = ?'}
       ${origin === undefined ? '' : 'AND m.origin = ?'} ${page.after ? 'AND m.name > ?' : ''} ORDER BY m.name LIMIT ?`,
    [boardUuid, ...given(state), ...given(origin), ...(page.after ?? []), page.limit + 1],
  );
}

/** Of all boards of a tenant, by board and name. */
export async function listTenantModuleRows(
  manager: EntityManager,
  tenantId: string,
  state: string | undefined,
  page: PageRequest,
): Promise<ModuleRow[]> {
  const [board, name] = page.after ?? [];
  return manager.query(
    `${select} WHERE m.tenant_id = ? ${state === undefined ? '' : 'AND m.state = ?'}
       ${page.after ? 'AND (m.board_uuid > ? OR (m.board_uuid = ? AND m.name > ?))' : ''}
     ORDER BY m.board_uuid, m.name LIMIT ?`,
    [tenantId, ...given(state), ...(page.after ? [board, board, name] : []), page.limit + 1],
  );
}

const given = (value: string | undefined) => (value === undefined ? [] : [value]);

/** Rows as the contract has them, with the number of streams of each. */
export async function toModules(
  manager: EntityManager,
  rows: readonly ModuleRow[],
): Promise<Schemas['Module'][]> {
  if (rows.length === 0) return [];
  const counts = (await manager.query(
    `SELECT board_uuid AS board, SUBSTRING_INDEX(name, '/', 1) AS module, COUNT(*) AS n FROM streams
     WHERE board_uuid IN (?) GROUP BY 1, 2`,
    [[...new Set(rows.map((row) => row.board))]],
  )) as { board: string; module: string; n: number | string }[];
  const streams = new Map(counts.map((each) => [`${each.board} ${each.module}`, Number(each.n)]));
  return rows.map((row) => toModule(row, streams.get(`${row.board} ${row.name}`) ?? 0));
}

/** Throws AppError `not-found`. */
export async function getModuleRow(
  manager: EntityManager,
  boardUuid: string,
  name: string,
  { lock = false }: { lock?: boolean } = {},
): Promise<ModuleRow> {
  // A column of ascii cannot be compared with other text.
  const [row] = moduleNamePattern.test(name)
    ? ((await manager.query(`${select} WHERE m.board_uuid = ? AND m.name = ?${lock ? ' FOR UPDATE' : ''}`, [
        boardUuid,
        name,
      ])) as ModuleRow[])
    : [];
  if (!row) throw new AppError('not-found', 'this board has no such module');
  return row;
}

export type NewModule = Pick<
  BoardModule,
  'boardUuid' | 'tenantId' | 'name' | 'description' | 'kind' | 'state'
> & { decidedBy: string };

/** Below the lock of its board. Throws AppError `name-taken` or `quota-exceeded`. */
export async function insertModule(manager: EntityManager, module: NewModule): Promise<void> {
  const known = (await manager.query('SELECT 1 FROM modules WHERE board_uuid = ? AND name = ?', [
    module.boardUuid,
    module.name,
  ])) as unknown[];
  if (known.length > 0)
    throw new AppError('name-taken', 'the board has a module of this name', {
      details: { errors: [{ pointer: '/name', detail: 'is taken' }] },
    });
  const { devices: used } = await countDevices(manager, module.boardUuid);
  const limit = moduleLimits.perBoard;
  if (used >= limit)
    throw new AppError('quota-exceeded', `a board may have ${limit} devices, and this one has ${used}`, {
      details: { limit, used },
    });
  await manager.query(
    `INSERT INTO modules (board_uuid, tenant_id, name, description, kind, state, origin, decided_by, decided_at, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, ?, 'created', ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [
      module.boardUuid,
      module.tenantId,
      module.name,
      module.description,
      module.kind,
      module.state,
      module.decidedBy,
    ],
  );
}

/** Below the lock of their board. Answers with their names. */
export async function forgetStrangers(manager: EntityManager, boardUuid: string): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT name FROM modules WHERE board_uuid = ? AND ${isStranger} ORDER BY name`,
    [boardUuid],
  )) as { name: string }[];
  const names = rows.map(({ name }) => name);
  if (names.length > 0)
    await manager.query('DELETE FROM modules WHERE board_uuid = ? AND name IN (?)', [boardUuid, names]);
  return names;
}

export interface ModuleColumns {
  description?: string | null;
  kind?: string | null;
  state?: ModuleState;
  decided_by?: string;
  decided_at?: Date;
}

export async function updateModuleRow(
  manager: EntityManager,
  { board, name }: Pick<ModuleRow, 'board' | 'name'>,
  values: ModuleColumns,
): Promise<void> {
  await updateRow(manager, 'modules', { board_uuid: board, name }, values);
}

type SourceRow = Omit<BoardSource, 'boardUuid' | 'countResets'> & { resets: number };

/** By name; there are few. */
export async function listSources(manager: EntityManager, boardUuid: string): Promise<Schemas['Source'][]> {
  const rows = (await manager.query(
    `SELECT name, kind, received, stored, duplicate, rejected, waiting, fault, count_resets AS resets,
            reported_at AS reportedAt
     FROM board_sources WHERE board_uuid = ? ORDER BY name LIMIT ?`,
    [boardUuid, 2 * moduleLimits.sources],
  )) as SourceRow[];
  return rows.map((row) => ({
    ...row,
    balanced: differenceOf(row) === 0,
    reportedAt: row.reportedAt.toISOString(),
  }));
}
