/** The caller, and what the table of permissions gives them: the console shows exactly that. */
import type { OperationId, Schemas } from '../http/operation.ts';
import { allowsAnywhere, allowsInTenant, operationIds } from '../http/permissions.ts';
import type { Principal } from './principal.ts';

export function toMe(principal: Principal): Schemas['Me'] {
  const { kind, id, name, displayName, isAdmin, scope, expiresAt } = principal;
  const isKey = kind === 'key';
  return {
    kind: isKey ? 'key' : 'user',
    id,
    name,
    ...(!isKey && { displayName }),
    isAdmin,
    tenants: principal.memberships.map((each) => ({
      id: each.tenantId,
      name: each.tenantName,
      slug: each.tenantSlug,
      role: isAdmin ? ('admin' as const) : each.role,
      can: operationIds.filter((operation) => allowsInTenant(operation, principal, each.tenantId)),
    })),
    can: allowedAnywhere(principal),
    ...(isKey && {
      boards: scope.boards && [...scope.boards],
      procedures: scope.procedures && [...scope.procedures],
    }),
    expiresAt: expiresAt?.toISOString() ?? null,
  };
}

function allowedAnywhere(principal: Principal): OperationId[] {
  return operationIds.filter((operation) => allowsAnywhere(operation, principal));
}
