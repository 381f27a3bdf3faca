/** Boards as clients see them: the row, its labels and its live session. */
import type { EntityManager } from 'typeorm';
import type { BoardStatus } from '../../common/db/entities/boards.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { SqlCondition } from '../../common/db/queries/label-selector.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';
import { type CursorValue, cursorTime, type PageRequest } from '../http/paging.ts';

export interface BoardRow {
  uuid: string;
  tenant: string;
  name: string;
  type: string;
  status: BoardStatus;
  latitude: number | null;
  longitude: number | null;
  altitude: number | null;
  mobile: number;
  extra: string | JsonObject | null;
  agentVersion: string | null;
  connectivity: string | JsonObject | null;
  lastHeartbeatAt: Date | null;
  lastRpcAt: Date | null;
  lastSeenAt: Date | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
  sessionId: string | null;
  sessionSince: Date | null;
}

const select = `SELECT b.uuid, b.tenant_id AS tenant, b.name, b.type, b.status, b.latitude, b.longitude, b.altitude,
    b.mobile, b.extra, b.agent_version AS agentVersion, b.connectivity, b.last_heartbeat_at AS lastHeartbeatAt,
    b.last_rpc_at AS lastRpcAt, b.last_seen_at AS lastSeenAt, b.version, b.created_at AS createdAt,
    b.updated_at AS updatedAt, s.id AS sessionId, s.started_at AS sessionSince
  FROM boards b LEFT JOIN board_sessions s ON s.board_uuid = b.uuid AND s.live = 1`;

export type Labels = Record<string, string>;

/** Labels of boards, by uuid. */
export async function findLabels(
  manager: EntityManager,
  boardUuids: readonly string[],
): Promise<Map<string, Labels>> {
  const labels = new Map<string, Labels>();
  if (boardUuids.length === 0) return labels;
  const rows = (await manager.query(
    `SELECT board_uuid AS boardUuid, label_key AS name, label_value AS value FROM board_labels
     WHERE board_uuid IN (?) ORDER BY board_uuid, label_key`,
    [boardUuids],
  )) as { boardUuid: string; name: string; value: string }[];
  for (const { boardUuid, name, value } of rows)
    labels.set(boardUuid, { ...labels.get(boardUuid), [name]: value });
  return labels;
}

/** The board as clients see it; throws AppError `board-not-found`. */
export async function readBoard(manager: EntityManager, uuid: string): Promise<Schemas['Board']> {
  const [row] = (await manager.query(`${select} WHERE b.uuid = ?`, [uuid])) as BoardRow[];
  if (!row) throw new AppError('board-not-found', 'there is no such board');
  return toBoard(row, (await findLabels(manager, [uuid])).get(uuid));
}

export type BoardSort = 'name' | '-name' | 'createdAt' | '-createdAt' | 'lastSeenAt' | '-lastSeenAt';

const sortColumns = { name: 'b.name', createdAt: 'b.created_at', lastSeenAt: 'b.last_seen_at' } as const;
type SortField = keyof typeof sortColumns;

export async function listBoardRows(
  manager: EntityManager,
  filter: SqlCondition,
  sort: BoardSort,
  page: PageRequest,
): Promise<BoardRow[]> {
  const field = sort.replace('-', '') as SortField;
  const descending = sort.startsWith('-');
  const after = page.after ? afterCondition(field, descending, page.after) : { sql: 'TRUE', values: [] };
  return manager.query(
    `${select} WHERE ${filter.sql} AND ${after.sql}
     ORDER BY ${sortColumns[field]} ${descending ? 'DESC' : 'ASC'}, b.uuid LIMIT ?`,
    [...filter.values, ...after.values, page.limit + 1],
  );
}

/** What comes after [sort value, uuid]. The database puts NULL first, or last in descending order. */
function afterCondition(
  field: SortField,
  descending: boolean,
  [value = null, uuid = '']: CursorValue[],
): SqlCondition {
  const column = sortColumns[field];
  if (value === null) {
    const others = descending ? '' : ` OR ${column} IS NOT NULL`;
    return { sql: `((${column} IS NULL AND b.uuid > ?)${others})`, values: [uuid] };
  }
  const key = field === 'name' ? String(value) : cursorTime(value);
  const nulls = descending ? ` OR ${column} IS NULL` : '';
  return {
    sql: `(${column} ${descending ? '<' : '>'} ? OR (${column} = ? AND b.uuid > ?)${nulls})`,
    values: [key, key, uuid],
  };
}

export function boardSortKey(row: BoardRow, sort: BoardSort): CursorValue[] {
  const value = row[sort.replace('-', '') as SortField];
  return [value instanceof Date ? value.getTime() : value, row.uuid];
}

export async function countBoardRows(
  manager: EntityManager,
  filter: SqlCondition,
): Promise<{ status: BoardStatus; count: number }[]> {
  const rows = (await manager.query(
    `SELECT b.status, COUNT(*) AS count FROM boards b WHERE ${filter.sql} GROUP BY b.status`,
    filter.values,
  )) as { status: BoardStatus; count: number | string }[];
  return rows.map((row) => ({ status: row.status, count: Number(row.count) }));
}

export interface PositionRow {
  uuid: string;
  name: string;
  status: BoardStatus;
  latitude: number;
  longitude: number;
}

export async function listPositionRows(
  manager: EntityManager,
  filter: SqlCondition,
  limit: number,
): Promise<PositionRow[]> {
  return manager.query(
    `SELECT b.uuid, b.name, b.status, b.latitude, b.longitude FROM boards b
     WHERE ${filter.sql} AND b.latitude IS NOT NULL ORDER BY b.uuid LIMIT ?`,
    [...filter.values, limit],
  );
}

export function toBoard(row: BoardRow, labels: Labels | undefined): Schemas['Board'] {
  const iso = (time: Date | null) => time?.toISOString() ?? null;
  return {
    uuid: row.uuid,
    name: row.name,
    tenant: row.tenant,
    type: row.type,
    status: row.status,
    labels: labels ?? {},
    location: toLocation(row),
    mobile: row.mobile === 1,
    agentVersion: row.agentVersion,
    connectivity: fromJsonColumn(row.connectivity),
    presence: {
      session:
        row.sessionId === null || row.sessionSince === null
          ? null
          : { id: row.sessionId, since: row.sessionSince.toISOString() },
      lastHeartbeatAt: iso(row.lastHeartbeatAt),
      lastRpcAt: iso(row.lastRpcAt),
    },
    lastSeenAt: iso(row.lastSeenAt),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
    version: row.version,
    extra: fromJsonColumn<JsonObject | null>(row.extra) ?? {},
  };
}

function toLocation({ latitude, longitude, altitude }: BoardRow): Schemas['Location'] | null {
  if (latitude === null || longitude === null) return null;
  return { latitude, longitude, ...(altitude !== null && { altitude }) };
}
