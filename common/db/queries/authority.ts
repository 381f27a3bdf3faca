/**
 * What somebody may do now who left something to be done later: a schedule, or the action of an alarm
 * rule. Asked at the moment when the operation is made, so that rights which have ended meanwhile start
 * nothing any more. What cannot be said for sure is refused.
 */
import type { EntityManager } from 'typeorm';
import { AppError } from '../../runtime/app-error.ts';
import { isUuid } from '../../runtime/guards.ts';
import { matchesProcedure } from '../../wamp/procedure-scope.ts';
import { fromJsonColumn } from '../json-column.ts';
import { isOperatingRole } from '../roles.ts';

export interface Deed {
  tenantId: string;
  /** In whose name: `user:<id>` or `key:<id>`; null = nobody's. */
  author: string | null;
  procedure: string;
}

export interface Authority {
  /** uuids of the boards that may be reached; null = all of the tenant. */
  boards: ReadonlySet<string> | null;
}

/** Throws AppError `forbidden` saying why. */
export async function requireAuthority(manager: EntityManager, deed: Deed): Promise<Authority> {
  const { author } = deed;
  const [kind, id = ''] = author?.split(':') ?? [];
  // Ids are ascii: other text cannot be compared with them.
  if (kind === 'user' && isUuid(id)) return requireUser(manager, deed, id);
  if (kind === 'key' && isUuid(id)) return requireKey(manager, deed, id);
  throw denied('nobody answers for it any more');
}

async function requireUser(
  manager: EntityManager,
  { tenantId, author }: Deed,
  id: string,
): Promise<Authority> {
  const [user] = (await manager.query(
    `SELECT u.is_admin AS isAdmin, u.disabled, m.role FROM users u
     LEFT JOIN memberships m ON m.user_id = u.id AND m.tenant_id = ? WHERE u.id = ?`,
    [tenantId, id],
  )) as { isAdmin: number; disabled: number; role: string | null }[];
  if (!user) throw denied(`its author ${author} is no user any more`);
  if (user.disabled !== 0) throw denied(`its author ${author} is disabled`);
  if (user.isAdmin === 1) return { boards: null };
  if (user.role === null) throw denied(`its author ${author} is no member of the tenant any more`);
  requireRole(user.role, author);
  return { boards: null };
}

async function requireKey(
  manager: EntityManager,
  { tenantId, author, procedure }: Deed,
  id: string,
): Promise<Authority> {
  const [key] = (await manager.query(
    `SELECT role, boards, procedures, revoked_at IS NOT NULL AS isRevoked,
            COALESCE(expires_at <= UTC_TIMESTAMP(3), 0) AS isExpired
     FROM api_keys WHERE id = ? AND tenant_id = ?`,
    [id, tenantId],
  )) as { role: string; boards: unknown; procedures: unknown; isRevoked: unknown; isExpired: unknown }[];
  if (!key) throw denied(`its author ${author} is no key of the tenant any more`);
  if (Number(key.isRevoked) !== 0) throw denied(`its author ${author} was revoked`);
  if (Number(key.isExpired) !== 0) throw denied(`its author ${author} has expired`);
  requireRole(key.role, author);
  if (!matchesProcedure(scopeOf(key.procedures), procedure))
    throw denied(`the scope of its author ${author} does not include the procedure '${procedure}'`);
  const boards = scopeOf(key.boards);
  return { boards: boards && new Set(boards) };
}

function requireRole(role: string, author: string | null): void {
  if (!isOperatingRole(role))
    throw denied(`the role of its author ${author} is ${role}, which starts no operations`);
}

/** null = no limit. A scope that cannot be read must not become "everything". */
function scopeOf(column: unknown): string[] | null {
  const list = fromJsonColumn<unknown>(column);
  if (list === null || list === undefined) return null;
  return Array.isArray(list) ? list.filter((each) => typeof each === 'string') : [];
}

function denied(reason: string): AppError {
  return new AppError('forbidden', `${reason}; whoever changes it next becomes its author`);
}
