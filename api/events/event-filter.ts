/** What one listener gets: what it asked for, within what it may see. Pure. */
import type { Principal } from '../auth/principal.ts';
import { allowsInTenant } from '../http/permissions.ts';

/** What the listener asked for; null = no restriction. */
export interface EventFilter {
  types: ReadonlySet<string> | null;
  /** uuids with the tenants that they belong to. */
  boards: ReadonlyMap<string, string> | null;
  tenantId: string | null;
}

/** What the principal may see now; null = everything. */
export interface Visibility {
  tenants: ReadonlySet<string> | null;
  boards: ReadonlySet<string> | null;
}

export function visibilityOf(principal: Principal): Visibility {
  const allowed = principal.memberships.filter(({ tenantId }) =>
    allowsInTenant('streamEvents', principal, tenantId),
  );
  return {
    tenants: principal.isAdmin ? null : new Set(allowed.map(({ tenantId }) => tenantId)),
    boards: principal.scope.boards,
  };
}

/** The tenants that can have events for a listener; null = all there are. */
export function tenantsOf(filter: EventFilter, { tenants }: Visibility): string[] | null {
  const asked = filter.boards ? [...new Set(filter.boards.values())] : filter.tenantId && [filter.tenantId];
  if (!asked) return tenants && [...tenants];
  return asked.filter((id) => tenants?.has(id) ?? true);
}

export function wants(filter: EventFilter, type: string): boolean {
  return filter.types?.has(type) ?? true;
}

/** Whether an event of a tenant, and of a board where it has one, is for the listener. */
export function passes(
  filter: EventFilter,
  visibility: Visibility,
  { tenantId, boardUuid }: { tenantId: string; boardUuid: string | null },
): boolean {
  if (visibility.tenants?.has(tenantId) === false) return false;
  if (filter.tenantId !== null && filter.tenantId !== tenantId) return false;
  return [visibility.boards, filter.boards].every(
    (boards) => boards === null || (boardUuid !== null && boards.has(boardUuid)),
  );
}
