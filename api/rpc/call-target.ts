/**
 * The board of a call with its live session, in one statement: together with the authentication
 * these are the two queries that an RPC may cost.
 */
import type { EntityManager } from 'typeorm';
import type { BoardStatus } from '../../common/db/entities/boards.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid } from '../../common/runtime/guards.ts';
import type { Principal } from '../auth/principal.ts';

export interface CallTarget {
  uuid: string;
  tenantId: string;
  name: string;
  status: BoardStatus;
  lastSeenAt: Date | null;
  contractsHash: string | null;
  session: { id: string; cell: string } | undefined;
}

/**
 * Finds a board by uuid or name among those that the principal may see. Throws `board-not-found`,
 * also for boards of others, and `invalid-request` for a name that several visible tenants use.
 */
export async function getCallTarget(
  manager: EntityManager,
  principal: Principal,
  reference: string,
  tenant: string | undefined,
): Promise<CallTarget> {
  const conditions = [isUuid(reference) ? 'b.uuid = ?' : 'b.name = ?'];
  const parameters: unknown[] = [reference];
  if (!principal.isAdmin) {
    conditions.push('b.tenant_id IN (?)');
    // An empty list is no valid SQL.
    parameters.push([...principal.memberships.map((each) => each.tenantId), '']);
  }
  if (tenant !== undefined) {
    conditions.push('b.tenant_id IN (SELECT id FROM tenants WHERE id = ? OR name = ? OR slug = ?)');
    parameters.push(tenant, tenant, tenant);
  }
  const rows = (await manager.query(
    `SELECT b.uuid, b.tenant_id AS tenantId, b.name, b.status, b.last_seen_at AS lastSeenAt,
            b.contracts_hash AS contractsHash, s.id AS sessionId, s.cell
     FROM boards b LEFT JOIN board_sessions s ON s.board_uuid = b.uuid AND s.live = 1
     WHERE ${conditions.join(' AND ')} LIMIT 2`,
    parameters,
  )) as Row[];
  const [row, another] = rows.filter(({ uuid }) => principal.scope.boards?.has(uuid) ?? true);
  if (row === undefined) throw new AppError('board-not-found', `there is no board '${reference}'`);
  if (another !== undefined) {
    throw new AppError(
      'invalid-request',
      `several tenants have a board '${reference}': name the tenant as well`,
    );
  }
  const { sessionId, cell, ...board } = row;
  return { ...board, session: sessionId === null || cell === null ? undefined : { id: sessionId, cell } };
}

type Row = Omit<CallTarget, 'session'> & { sessionId: string | null; cell: string | null };
