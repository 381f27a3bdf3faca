/**
 * From a reference in a path to a row that belongs to a tenant and has a name unique in it: fleets,
 * schedules and alarm rules. The same rules as for boards (access.ts).
 */
import type { EntityManager } from 'typeorm';
import { AppError } from '../common/runtime/app-error.ts';
import { isUuid } from '../common/runtime/guards.ts';
import { getTenantAccess } from './access.ts';
import type { Principal } from './auth/principal.ts';
import type { OperationId } from './http/operation.ts';
import { allowsInTenant, roleIn } from './http/permissions.ts';

const things = { fleets: 'fleet', schedules: 'schedule', alarm_rules: 'alarm rule', sinks: 'sink' } as const;

export interface NamedAccess {
  id: string;
  tenantId: string;
  name: string;
}

/**
 * @param reference id or name
 * @param tenant only in this tenant (id, name or slug)
 * Throws AppError `not-found`, `forbidden`, or `conflict` for a name that several tenants have.
 */
export async function getNamedAccess(
  manager: EntityManager,
  request: { operationId: OperationId; principal: Principal },
  table: keyof typeof things,
  reference: string,
  tenant: string | undefined,
): Promise<NamedAccess> {
  const { principal, operationId } = request;
  const within = tenant === undefined ? undefined : (await getTenantAccess(manager, request, tenant)).id;
  const tenants = within === undefined ? principal.memberships.map((each) => each.tenantId) : [within];
  // The installation's admin has all tenants; by way of them, because names are indexed below theirs.
  const limited = within !== undefined || !principal.isAdmin;
  const rows =
    limited && tenants.length === 0
      ? []
      : ((await manager.query(
          `SELECT x.id, x.tenant_id AS tenantId, x.name FROM tenants t JOIN ${table} x ON x.tenant_id = t.id
           WHERE x.${isUuid(reference) ? 'id' : 'name'} = ?${limited ? ' AND t.id IN (?)' : ''} LIMIT 2`,
          limited ? [reference, tenants] : [reference],
        )) as NamedAccess[]);
  const [found] = rows;
  const what = things[table];
  if (!found || roleIn(principal, found.tenantId) === undefined)
    throw new AppError('not-found', `there is no such ${what}`);
  if (rows.length > 1)
    throw new AppError(
      'conflict',
      `several of your tenants have a ${what} of this name; give its id or \`tenant\``,
    );
  if (!allowsInTenant(operationId, principal, found.tenantId))
    throw new AppError('forbidden', `your role in the ${what}'s tenant does not allow ${operationId}`);
  return found;
}
