/** Which boards a listener asks for, and which of them it watches. */
import type { EntityManager } from 'typeorm';
import { getBoardAccess, getTenantAccess } from '../access.ts';
import type { ApiRequest } from '../http/operation.ts';
import { type EventFilter, tenantsOf, type Visibility } from './event-filter.ts';

/** A listener of up to this many boards makes them send at once; with more it would cost the cell too much. */
export const watchedBoards = 50;

/** Throws AppError for a tenant or board that the caller may not see. */
export async function readFilter(
  manager: EntityManager,
  { operationId, principal, query }: ApiRequest<'streamEvents'>,
): Promise<EventFilter> {
  const tenant =
    query.tenant === undefined
      ? undefined
      : await getTenantAccess(manager, { operationId, principal }, query.tenant);
  const boards = new Map<string, string>();
  for (const board of query.board ?? []) {
    const within = tenant === undefined ? {} : { tenant: tenant.id };
    const found = await getBoardAccess(manager, { operationId, principal, path: { board }, query: within });
    boards.set(found.uuid, found.tenantId);
  }
  return {
    types: query.types ? new Set(query.types) : null,
    boards: query.board ? boards : null,
    tenantId: tenant?.id ?? null,
  };
}

/** The boards that a listener watches; undefined when there are too many for that. */
export async function findWatchedBoards(
  manager: EntityManager,
  filter: EventFilter,
  visibility: Visibility,
): Promise<string[] | undefined> {
  const known = filter.boards ? [...filter.boards.keys()] : visibility.boards && [...visibility.boards];
  if (known !== null) return known.length <= watchedBoards ? known : undefined;
  const tenants = tenantsOf(filter, visibility);
  const rows = (await manager.query(
    `SELECT uuid FROM boards ${tenants ? 'WHERE tenant_id IN (?)' : ''} LIMIT ?`,
    // An empty list is no valid SQL.
    tenants ? [[...tenants, ''], watchedBoards + 1] : [watchedBoards + 1],
  )) as { uuid: string }[];
  return rows.length <= watchedBoards ? rows.map(({ uuid }) => uuid) : undefined;
}
