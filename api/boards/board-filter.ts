/** Which boards a list, a count or a map shows: the caller's tenants and scope, and what was asked for. */
import type { EntityManager } from 'typeorm';
import { fleetCondition } from '../../common/db/queries/fleet-boards.ts';
import {
  labelCondition,
  parseLabelSelector,
  type SqlCondition,
} from '../../common/db/queries/label-selector.ts';
import { visibleTenants } from '../access.ts';
import type { Principal } from '../auth/principal.ts';
import type { OperationId, Schemas } from '../http/operation.ts';
import { getNamedAccess } from '../named-access.ts';

export interface BoardFilterQuery {
  tenant?: string;
  status?: Schemas['BoardStatus'][];
  labels?: string;
  type?: string;
  namePrefix?: string;
  /** Id or name. */
  fleet?: string;
}

/** A condition on `boards b`. Throws AppError `invalid-request` for a bad selector, `tenant-not-found`, `not-found` for the fleet. */
export async function boardFilter(
  manager: EntityManager,
  request: { operationId: OperationId; principal: Principal; query: BoardFilterQuery },
): Promise<SqlCondition> {
  const { tenant, status, labels, type, namePrefix, fleet } = request.query;
  const requirements = labels === undefined ? [] : parseLabelSelector(labels);
  const conditions: SqlCondition[] = [];
  const add = (sql: string, ...values: unknown[]) => void conditions.push({ sql, values });
  const tenants = await visibleTenants(manager, request, tenant);
  if (tenants !== 'all') {
    if (tenants.length === 0) return { sql: 'FALSE', values: [] };
    add('b.tenant_id IN (?)', tenants);
  }
  const { boards } = request.principal.scope;
  if (boards !== null) {
    if (boards.size === 0) return { sql: 'FALSE', values: [] };
    add('b.uuid IN (?)', [...boards]);
  }
  if (status) add('b.status IN (?)', status);
  if (type !== undefined) add('b.type = ?', type);
  if (namePrefix !== undefined) add("b.name LIKE ? ESCAPE '!'", `${escapeLike(namePrefix)}%`);
  if (fleet !== undefined) conditions.push(...(await ofFleet(manager, request, fleet)));
  conditions.push(...requirements.map((each) => labelCondition(each, 'b.uuid')));
  return {
    sql: conditions.map((each) => each.sql).join(' AND ') || 'TRUE',
    values: conditions.flatMap((each) => each.values),
  };
}

async function ofFleet(
  manager: EntityManager,
  request: { operationId: OperationId; principal: Principal; query: BoardFilterQuery },
  reference: string,
): Promise<SqlCondition[]> {
  const { id, tenantId } = await getNamedAccess(manager, request, 'fleets', reference, request.query.tenant);
  const [fleet] = (await manager.query('SELECT id, selector FROM fleets WHERE id = ?', [id])) as {
    id: string;
    selector: string | null;
  }[];
  if (!fleet) return [{ sql: 'FALSE', values: [] }];
  return [{ sql: 'b.tenant_id = ?', values: [tenantId] }, fleetCondition(fleet)];
}

function escapeLike(text: string): string {
  return text.replaceAll(/[!%_]/g, (character) => `!${character}`);
}
