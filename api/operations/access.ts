/** From an operation's id to its row, for whom it may be. */
import type { EntityManager } from 'typeorm';
import type { Delivery } from '../../common/db/entities/operations.ts';
import type { OperationState } from '../../common/operations/states.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { creatorOf } from '../audit/audit.ts';
import { type Principal, scopeAllowsProcedure } from '../auth/principal.ts';
import type { OperationId } from '../http/operation.ts';
import { allowsInTenant, roleIn } from '../http/permissions.ts';

export interface OperationReference {
  operationId: OperationId;
  principal: Principal;
  path: { operation: string };
}

export interface OperationAccess {
  id: string;
  tenantId: string;
  state: OperationState;
  delivery: Delivery;
  createdBy: string;
  procedure: string;
}

/**
 * The operation of the path, if the caller may do `request.operationId` with it. A key that is limited
 * to boards knows only what it made itself. Throws AppError `not-found` or `forbidden`.
 */
export async function getOperationAccess(
  manager: EntityManager,
  request: OperationReference,
): Promise<OperationAccess> {
  const { principal, operationId, path } = request;
  const [row] = (await manager.query(
    `SELECT id, tenant_id AS tenantId, state, delivery, created_by AS createdBy, procedure_name AS \`procedure\`
     FROM operations WHERE id = ?`,
    [path.operation.toLowerCase()],
  )) as OperationAccess[];
  if (!row || roleIn(principal, row.tenantId) === undefined || !mayKnow(principal, row.createdBy))
    throw new AppError('not-found', 'there is no such operation');
  if (!allowsInTenant(operationId, principal, row.tenantId))
    throw new AppError('forbidden', `your role in the operation's tenant does not allow ${operationId}`);
  return row;
}

/**
 * As getOperationAccess, for what changes the operation: a key that is limited to procedures must not
 * have others carried out, begun again or called off by way of an operation that somebody else made.
 */
export async function getOperationForChange(
  manager: EntityManager,
  request: OperationReference,
): Promise<OperationAccess> {
  const operation = await getOperationAccess(manager, request);
  if (!scopeAllowsProcedure(request.principal.scope, operation.procedure))
    throw new AppError(
      'forbidden',
      `the key's scope does not include the procedure '${operation.procedure}'`,
    );
  return operation;
}

export function mayKnow(principal: Principal, createdBy: string): boolean {
  return principal.scope.boards === null || creatorOf(principal) === createdBy;
}
