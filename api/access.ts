/**
 * From a reference in a path to the row it means, for whom it may be. The role in the row's tenant
 * decides (permissions.ts); what the caller may not know of is missing, with one and the same answer.
 */
import type { EntityManager } from 'typeorm';
import type { BoardStatus } from '../common/db/entities/boards.ts';
import { AppError } from '../common/runtime/app-error.ts';
import { isUuid } from '../common/runtime/guards.ts';
import type { UnknownDevicePolicy } from '../common/wamp/modules.ts';
import type { Principal } from './auth/principal.ts';
import type { OperationId } from './http/operation.ts';
import { allowsInTenant, roleIn } from './http/permissions.ts';

/** The part of a request that access is decided by; every ApiRequest with a board in its path is one. */
export interface BoardReference {
  operationId: OperationId;
  principal: Principal;
  path: { board: string };
  query: { tenant?: string };
}

/** A board with its live session: what an RPC needs, by one query. */
export interface BoardAccess {
  uuid: string;
  tenantId: string;
  name: string;
  status: BoardStatus;
  contractsHash: string | null;
  lastSeenAt: Date | null;
  version: number;
  session: {
    id: string;
    cell: string;
    agentId: string;
    wampSession: number;
    startedAt: Date;
  } | null;
}

/**
 * The board of `request.path.board`, if the caller may do `request.operationId` with it.
 * Throws AppError `board-not-found`, `forbidden`, or `conflict` for a name that several tenants have.
 */
export async function getBoardAccess(manager: EntityManager, request: BoardReference): Promise<BoardAccess> {
  const { principal, operationId } = request;
  const rows = (await findBoards(manager, principal, request.path.board, request.query.tenant)).filter(
    (row) =>
      roleIn(principal, row.tenantId) !== undefined &&
      (principal.scope.boards === null || principal.scope.boards.has(row.uuid)),
  );
  const [board] = rows;
  if (!board) throw new AppError('board-not-found', 'there is no such board');
  if (rows.length > 1)
    throw new AppError(
      'conflict',
      'several of your tenants have a board of this name; give its uuid or `tenant`',
    );
  if (!allowsInTenant(operationId, principal, board.tenantId))
    throw new AppError('forbidden', `your role in the board's tenant does not allow ${operationId}`);
  return board;
}

interface BoardAccessRow extends Omit<BoardAccess, 'session' | 'wampSession'> {
  sessionId: string | null;
  cell: string;
  agentId: string;
  wampSession: number | string;
  startedAt: Date;
}

const columns = `b.uuid, b.tenant_id AS tenantId, b.name, b.status, b.contracts_hash AS contractsHash,
  b.last_seen_at AS lastSeenAt, b.version, s.id AS sessionId, s.cell, s.agent_id AS agentId,
  s.wamp_session AS wampSession, s.started_at AS startedAt`;
const liveSession = 'LEFT JOIN board_sessions s ON s.board_uuid = b.uuid AND s.live = 1';

async function findBoards(
  manager: EntityManager,
  principal: Principal,
  reference: string,
  tenant: string | undefined,
): Promise<BoardAccess[]> {
  const inTenant = tenant === undefined ? undefined : tenantCondition(tenant);
  const tenants = inTenant ? 'JOIN tenants t ON t.id = b.tenant_id' : '';
  const where: string[] = inTenant ? [inTenant.sql] : [];
  const values: unknown[] = inTenant ? [...inTenant.values] : [];
  let from = `boards b ${tenants}`;
  if (isUuid(reference)) {
    where.push('b.uuid = ?');
    values.push(reference);
  } else if (principal.isAdmin) {
    // By way of the tenants, because names are indexed below their tenant only.
    from = 'tenants t JOIN boards b ON b.tenant_id = t.id';
    where.push('b.name = ?');
    values.push(reference);
  } else {
    if (principal.memberships.length === 0) return [];
    where.push('b.tenant_id IN (?)', 'b.name = ?');
    values.push(
      principal.memberships.map((each) => each.tenantId),
      reference,
    );
  }
  const rows = (await manager.query(
    `SELECT ${columns} FROM ${from} ${liveSession} WHERE ${where.join(' AND ')} LIMIT 2`,
    values,
  )) as BoardAccessRow[];
  return rows.map(({ sessionId, cell, agentId, wampSession, startedAt, ...board }) => ({
    ...board,
    session:
      sessionId === null
        ? null
        : { id: sessionId, cell, agentId, wampSession: Number(wampSession), startedAt },
  }));
}

export interface TenantAccess {
  id: string;
  name: string;
  slug: string;
  readingRetentionDays: number | null;
  unknownDevices: UnknownDevicePolicy;
  devicesPerMinute: number;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

/**
 * The tenant of a reference (id, name or slug), if the caller may do `operationId` in it.
 * Throws AppError `tenant-not-found` or `forbidden`.
 */
export async function getTenantAccess(
  manager: EntityManager,
  request: { operationId: OperationId; principal: Principal },
  reference: string,
): Promise<TenantAccess> {
  const { sql, values } = tenantCondition(reference);
  const rows = (await manager.query(
    `SELECT t.id, t.name, t.slug, t.reading_retention_days AS readingRetentionDays,
            t.unknown_devices AS unknownDevices, t.devices_per_minute AS devicesPerMinute, t.version,
            t.created_at AS createdAt, t.updated_at AS updatedAt
     FROM tenants t WHERE ${sql}`,
    values,
  )) as TenantAccess[];
  // A slug may be another tenant's name; the exact id or name wins.
  const tenant = rows.find((row) => row.id === reference || row.name === reference) ?? rows[0];
  if (!tenant || roleIn(request.principal, tenant.id) === undefined)
    throw new AppError('tenant-not-found', 'there is no such tenant');
  if (!allowsInTenant(request.operationId, request.principal, tenant.id))
    throw new AppError('forbidden', `your role in the tenant does not allow ${request.operationId}`);
  return tenant;
}

const slugPattern = /^[a-z0-9-]{1,63}$/;

function tenantCondition(reference: string): { sql: string; values: string[] } {
  if (isUuid(reference)) return { sql: 't.id = ?', values: [reference] };
  // Columns of ascii cannot be compared with other text.
  if (slugPattern.test(reference))
    return { sql: '(t.name = ? OR t.slug = ?)', values: [reference, reference] };
  return { sql: 't.name = ?', values: [reference] };
}

/**
 * Ids of the tenants whose boards a list shows: those where the caller may do the operation, or the
 * one asked for. `all` for the installation's admin without one.
 */
export async function visibleTenants(
  manager: EntityManager,
  request: { operationId: OperationId; principal: Principal },
  reference: string | undefined,
): Promise<string[] | 'all'> {
  if (reference !== undefined) return [(await getTenantAccess(manager, request, reference)).id];
  if (request.principal.isAdmin) return 'all';
  return request.principal.memberships
    .map((each) => each.tenantId)
    .filter((id) => allowsInTenant(request.operationId, request.principal, id));
}

/** The tenant that was named, or the only one where the caller may do this. Throws AppError as `getTenantAccess` does. */
export async function tenantForCreation(
  manager: EntityManager,
  request: { operationId: OperationId; principal: Principal },
  reference: string | undefined,
): Promise<string> {
  if (reference !== undefined) return (await getTenantAccess(manager, request, reference)).id;
  const { principal, operationId } = request;
  const candidates = principal.isAdmin
    ? ((await manager.query('SELECT id FROM tenants LIMIT 2')) as { id: string }[]).map((row) => row.id)
    : principal.memberships
        .map((each) => each.tenantId)
        .filter((id) => allowsInTenant(operationId, principal, id));
  const [only] = candidates;
  if (only !== undefined && candidates.length === 1) return only;
  throw new AppError('invalid-request', 'tenant is needed, because you do not have exactly one', {
    details: { errors: [{ pointer: '/tenant', detail: 'is required' }] },
  });
}
