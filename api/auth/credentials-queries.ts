/** Tokens to principals: one query by a unique index each. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { isTenantRole } from '../../common/db/roles.ts';
import { hashToken } from '../../common/runtime/secrets.ts';
import { type Membership, type Principal, unscoped } from './principal.ts';

/** Tokens begin with what they are, so that a leaked one is recognised by people and scanners. */
export const sessionTokenPrefix = 'bws_';
export const apiKeyPrefix = 'bw_';

interface MembershipRow {
  tenantId: string | null;
  tenantName: string | null;
  tenantSlug: string | null;
  role: string | null;
}

interface SessionRow extends MembershipRow {
  userId: string;
  username: string;
  displayName: string | null;
  isAdmin: number;
  expiresAt: Date;
}

interface KeyRow extends MembershipRow {
  id: string;
  name: string;
  boards: string | string[] | null;
  procedures: string | string[] | null;
  expiresAt: Date | null;
}

/** The principal of a session token or an API key; undefined when it is unknown, expired, revoked or disabled. */
export async function findPrincipal(manager: EntityManager, token: string): Promise<Principal | undefined> {
  if (token.startsWith(sessionTokenPrefix)) return findSessionPrincipal(manager, hashToken(token));
  if (token.startsWith(apiKeyPrefix)) return findKeyPrincipal(manager, hashToken(token));
  return undefined;
}

async function findSessionPrincipal(
  manager: EntityManager,
  tokenHash: string,
): Promise<Principal | undefined> {
  const rows = (await manager.query(
    `SELECT u.id AS userId, u.username, u.display_name AS displayName, u.is_admin AS isAdmin, s.expires_at AS expiresAt,
            m.tenant_id AS tenantId, m.role, t.name AS tenantName, t.slug AS tenantSlug
     FROM user_sessions s
     JOIN users u ON u.id = s.user_id
     LEFT JOIN memberships m ON m.user_id = u.id
     LEFT JOIN tenants t ON t.id = m.tenant_id
     WHERE s.token_hash = ? AND s.expires_at > UTC_TIMESTAMP(3) AND u.disabled = 0`,
    [tokenHash],
  )) as SessionRow[];
  const first = rows[0];
  if (!first) return undefined;
  return {
    kind: 'user',
    id: first.userId,
    name: first.username,
    displayName: first.displayName,
    isAdmin: first.isAdmin === 1,
    memberships: rows.flatMap(toMembership),
    scope: unscoped,
    expiresAt: first.expiresAt,
    sessionHash: tokenHash,
    byCookie: false,
  };
}

async function findKeyPrincipal(manager: EntityManager, secretHash: string): Promise<Principal | undefined> {
  const rows = (await manager.query(
    `SELECT k.id, k.name, k.boards, k.procedures, k.expires_at AS expiresAt, k.role,
            t.id AS tenantId, t.name AS tenantName, t.slug AS tenantSlug
     FROM api_keys k
     JOIN tenants t ON t.id = k.tenant_id
     WHERE k.secret_hash = ? AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > UTC_TIMESTAMP(3))`,
    [secretHash],
  )) as KeyRow[];
  const key = rows[0];
  if (!key) return undefined;
  const boards = fromJsonColumn<string[] | null>(key.boards);
  return {
    kind: 'key',
    id: key.id,
    name: key.name,
    displayName: null,
    isAdmin: false,
    memberships: toMembership(key),
    scope: { boards: boards && new Set(boards), procedures: fromJsonColumn<string[] | null>(key.procedures) },
    expiresAt: key.expiresAt,
    sessionHash: null,
    byCookie: false,
  };
}

function toMembership(row: MembershipRow): Membership[] {
  if (row.tenantId === null || !isTenantRole(row.role)) return [];
  return [
    {
      tenantId: row.tenantId,
      tenantName: row.tenantName ?? '',
      tenantSlug: row.tenantSlug ?? '',
      role: row.role,
    },
  ];
}
