/** Many boards at once, and what hangs on one board. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { getBoardAccess } from '../access.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf, Schemas } from '../http/operation.ts';
import { cursorTime, type PageRequest, pageRequest, toPage } from '../http/paging.ts';
import { boardFilter } from './board-filter.ts';
import {
  boardSortKey,
  countBoardRows,
  findLabels,
  listBoardRows,
  listPositionRows,
  toBoard,
} from './board-queries.ts';

type BoardListOperations =
  | 'listBoards'
  | 'countBoards'
  | 'listBoardPositions'
  | 'listBoardSessions'
  | 'listProcedures';

/** A map with more dots shows none of them; filters make it smaller. */
const positionsLimit = 50_000;
const newest = 'newest';

export function createBoardListHandlers({ database }: ApiDeps): HandlersOf<BoardListOperations> {
  return {
    async listBoards(request) {
      const sort = request.query.sort ?? 'name';
      const page = pageRequest(request.query, sort, [sort.endsWith('name') ? 'text' : 'time', 'uuid']);
      const { rows, labels } = await database.read(async (manager) => {
        const found = await listBoardRows(manager, await boardFilter(manager, request), sort, page);
        return {
          rows: found,
          labels: await findLabels(
            manager,
            found.map((row) => row.uuid),
          ),
        };
      });
      const body = toPage(
        rows,
        page.limit,
        sort,
        (row) => toBoard(row, labels.get(row.uuid)),
        (row) => boardSortKey(row, sort),
      );
      return { status: 200, body };
    },

    async countBoards(request) {
      const counts = await database.read(async (manager) =>
        countBoardRows(manager, await boardFilter(manager, request)),
      );
      const byStatus = { registered: 0, online: 0, offline: 0, revoked: 0 };
      for (const { status, count } of counts) byStatus[status] = count;
      return { status: 200, body: { total: counts.reduce((sum, each) => sum + each.count, 0), byStatus } };
    },

    async listBoardPositions(request) {
      const rows = await database.read(async (manager) =>
        listPositionRows(manager, await boardFilter(manager, request), positionsLimit + 1),
      );
      const items = rows
        .slice(0, positionsLimit)
        .map((row): [string, string, number, number, number] => [
          row.uuid,
          row.name,
          statuses.indexOf(row.status),
          round(row.latitude),
          round(row.longitude),
        ]);
      const fields = ['uuid', 'name', 'status', 'latitude', 'longitude'];
      return {
        status: 200,
        body: { fields, statuses: [...statuses], items, truncated: rows.length > positionsLimit },
      };
    },

    async listBoardSessions(request) {
      const page = pageRequest(request.query, newest, ['time', 'uuid']);
      const rows = await database.read(async (manager) => {
        const { uuid } = await getBoardAccess(manager, request);
        return listSessionRows(manager, uuid, page);
      });
      const body = toPage(rows, page.limit, newest, toSession, (row) => [row.startedAt.getTime(), row.id]);
      return { status: 200, body };
    },

    async listProcedures(request) {
      const rows = await database.read(async (manager) => {
        const { uuid } = await getBoardAccess(manager, request);
        return manager.query('SELECT contract FROM procedure_contracts WHERE board_uuid = ? ORDER BY name', [
          uuid,
        ]) as Promise<{ contract: string | JsonObject }[]>;
      });
      // Written by the wamp-agent, which parsed it.
      const items = rows.map((row) => fromJsonColumn<Schemas['Procedure']>(row.contract));
      return { status: 200, body: { items } };
    },
  };
}

const statuses = ['registered', 'online', 'offline', 'revoked'] as const;

/** A metre is enough for a dot on a map. */
function round(degrees: number): number {
  return Math.round(degrees * 100_000) / 100_000;
}

interface SessionRow {
  id: string;
  live: number | null;
  cell: string;
  bootId: string;
  agentVersion: string;
  remoteAddress: string | null;
  startedAt: Date;
  endedAt: Date | null;
  endReason: string | null;
}

async function listSessionRows(
  manager: EntityManager,
  boardUuid: string,
  page: PageRequest,
): Promise<SessionRow[]> {
  const at = page.after && cursorTime(page.after[0]);
  return manager.query(
    `SELECT id, live, cell, boot_id AS bootId, agent_version AS agentVersion, remote_address AS remoteAddress,
            started_at AS startedAt, ended_at AS endedAt, end_reason AS endReason
     FROM board_sessions WHERE board_uuid = ? ${at ? 'AND (started_at < ? OR (started_at = ? AND id < ?))' : ''}
     ORDER BY started_at DESC, id DESC LIMIT ?`,
    [boardUuid, ...(at ? [at, at, page.after?.[1] ?? ''] : []), page.limit + 1],
  );
}

function toSession(row: SessionRow): Schemas['BoardSession'] {
  return {
    ...row,
    live: row.live === 1,
    startedAt: row.startedAt.toISOString(),
    endedAt: row.endedAt?.toISOString() ?? null,
  };
}
