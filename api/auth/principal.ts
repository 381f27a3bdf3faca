/** Who sends a request: a user with roles in tenants, or an API key with one role in one tenant. */
import type { TenantRole } from '../../common/db/roles.ts';
import { matchesProcedure } from '../../common/wamp/procedure-scope.ts';

export interface Membership {
  tenantId: string;
  tenantName: string;
  tenantSlug: string;
  role: TenantRole;
}

/** What a key may reach; null = no limit. */
export interface Scope {
  /** Board uuids. */
  boards: ReadonlySet<string> | null;
  /** Procedure names, `*` at the end as wildcard. */
  procedures: readonly string[] | null;
}

export interface Principal {
  kind: 'user' | 'key' | 'anonymous';
  /** User id or key id; empty for anonymous. */
  id: string;
  /** User name or name of the key. */
  name: string;
  displayName: string | null;
  /** The installation's own role `admin`. */
  isAdmin: boolean;
  memberships: readonly Membership[];
  scope: Scope;
  expiresAt: Date | null;
  /** Hash of the session token that the request came with; users only. */
  sessionHash: string | null;
  /** Whether the token came in a cookie: then changing requests must come from the same origin. */
  byCookie: boolean;
}

export const unscoped: Scope = { boards: null, procedures: null };

export const anonymous: Principal = {
  kind: 'anonymous',
  id: '',
  name: '',
  displayName: null,
  isAdmin: false,
  memberships: [],
  scope: unscoped,
  expiresAt: null,
  sessionHash: null,
  byCookie: false,
};

/** Whether a scope lets a procedure be called. */
export function scopeAllowsProcedure(scope: Scope, procedure: string): boolean {
  return matchesProcedure(scope.procedures, procedure);
}
