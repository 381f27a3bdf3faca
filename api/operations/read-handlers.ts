/** Looking at operations and how far they are on each board. */
import type { EntityManager } from 'typeorm';
import { getBoardAccess, visibleTenants } from '../access.ts';
import { creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import type { ApiRequest, HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { versionTag } from '../http/versions.ts';
import { getOperationAccess } from './access.ts';
import {
  countFittingOperations,
  countTargets,
  listOperationRows,
  readOperation,
  toOperation,
} from './operation-queries.ts';
import { countFitting, listTargets, pageBytes } from './target-queries.ts';

type Reads = 'listOperations' | 'getOperation' | 'listOperationTargets';

const newest = 'newest';
const byBoard = 'board';
export function createOperationReadHandlers({ database }: ApiDeps): HandlersOf<Reads> {
  return {
    async listOperations(request) {
      const page = pageRequest(request.query, newest, ['time', 'uuid']);
      const { state, procedure, creator, schedule, from, to, tenant, board } = request.query;
      const { scope } = request.principal;
      const { rows, counts, limit } = await database.read(async (manager) => {
        const filter = {
          tenants: await visibleTenants(manager, request, tenant),
          board: board === undefined ? undefined : await findBoard(manager, request, board),
          states: state,
          procedure,
          createdBy: creator,
          onlyCreatedBy: scope.boards === null ? null : creatorOf(request.principal),
          schedule: schedule?.toLowerCase(),
          from: from === undefined ? undefined : new Date(from),
          to: to === undefined ? undefined : new Date(to),
        };
        const fits = await countFittingOperations(manager, filter, page, pageBytes);
        const found = await listOperationRows(manager, filter, { ...page, limit: fits });
        const ids = found.slice(0, fits).map(({ id }) => id);
        return { rows: found, counts: await countTargets(manager, ids), limit: fits };
      });
      const body = toPage(
        rows,
        limit,
        newest,
        (row) => toOperation(row, counts.get(row.id)),
        (row) => [row.createdAt.getTime(), row.id],
      );
      return { status: 200, body };
    },

    async getOperation(request) {
      const operation = await database.read(async (manager) => {
        const { id } = await getOperationAccess(manager, request);
        return readOperation(manager, id);
      });
      return { status: 200, headers: versionTag(operation.version), body: operation };
    },

    async listOperationTargets(request) {
      const page = pageRequest(request.query, byBoard, ['uuid']);
      const after = page.after === undefined ? undefined : String(page.after[0]);
      const { targets, limit } = await database.read(async (manager) => {
        const { id } = await getOperationAccess(manager, request);
        const asked = { states: request.query.state, after, limit: page.limit };
        const fitting = await countFitting(manager, id, asked, pageBytes);
        return {
          targets: await listTargets(manager, id, { ...asked, limit: fitting + 1 }),
          limit: fitting,
        };
      });
      const body = toPage(
        targets,
        limit,
        byBoard,
        (target) => target,
        ({ board }) => [board],
      );
      return { status: 200, body };
    },
  };
}

/** uuid of a board in the filter. */
async function findBoard(
  manager: EntityManager,
  { operationId, principal, query }: ApiRequest<'listOperations'>,
  board: string,
): Promise<string> {
  const inTenant = query.tenant === undefined ? {} : { tenant: query.tenant };
  const reference = { operationId, principal, path: { board }, query: inTenant };
  return (await getBoardAccess(manager, reference)).uuid;
}
