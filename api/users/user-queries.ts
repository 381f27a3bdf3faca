import type { EntityManager } from 'typeorm';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';

export interface UserRow {
  id: string;
  username: string;
  displayName: string | null;
  isAdmin: number;
  disabled: number;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

const columns = `id, username, display_name AS displayName, is_admin AS isAdmin, disabled, version,
  created_at AS createdAt, updated_at AS updatedAt`;

export function toUser(row: UserRow): Schemas['User'] {
  return {
    id: row.id,
    username: row.username,
    displayName: row.displayName,
    isAdmin: row.isAdmin === 1,
    disabled: row.disabled === 1,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export async function listUsers(manager: EntityManager, page: PageRequest): Promise<UserRow[]> {
  return manager.query(
    `SELECT ${columns} FROM users ${page.after ? 'WHERE username > ?' : ''} ORDER BY username LIMIT ?`,
    [...(page.after ?? []), page.limit + 1],
  );
}

/** By id or user name. Throws AppError `not-found`. */
export async function getUser(
  manager: EntityManager,
  reference: string,
  options: { lock?: boolean } = {},
): Promise<UserRow> {
  const [row] = (await manager.query(
    `SELECT ${columns} FROM users WHERE ${isUuid(reference) ? 'id' : 'username'} = ? ${options.lock ? 'FOR UPDATE' : ''}`,
    [reference],
  )) as UserRow[];
  if (!row) throw new AppError('not-found', 'there is no such user');
  return row;
}

export interface LoginRow extends UserRow {
  passwordHash: string;
}

export async function findLogin(
  manager: EntityManager,
  by: { username: string } | { id: string },
): Promise<LoginRow | undefined> {
  const [row] = (await manager.query(
    `SELECT ${columns}, password_hash AS passwordHash FROM users WHERE ${'id' in by ? 'id' : 'username'} = ?`,
    [Object.values(by)[0]],
  )) as LoginRow[];
  return row;
}

/** Changes members that are given; always counts the version up. */
export async function updateUserRow(
  manager: EntityManager,
  id: string,
  changes: Partial<Record<'username' | 'display_name' | 'password_hash' | 'is_admin' | 'disabled', unknown>>,
): Promise<void> {
  const names = Object.keys(changes);
  await manager.query(
    `UPDATE users SET ${names.map((name) => `${name} = ?, `).join('')} version = version + 1, updated_at = ? WHERE id = ?`,
    [...Object.values(changes), new Date(), id],
  );
}

/** Locks all admins that can sign in. */
export async function lockAdmins(manager: EntityManager): Promise<string[]> {
  const rows = (await manager.query(
    'SELECT id FROM users WHERE is_admin = 1 AND disabled = 0 ORDER BY id FOR UPDATE',
  )) as { id: string }[];
  return rows.map((row) => row.id);
}

/** Ends a user's sessions, but for the one with this token hash. */
export async function endUserSessions(
  manager: EntityManager,
  userId: string,
  exceptHash: string | null = null,
): Promise<void> {
  await manager.query("DELETE FROM user_sessions WHERE user_id = ? AND token_hash <> COALESCE(?, '')", [
    userId,
    exceptHash,
  ]);
}
