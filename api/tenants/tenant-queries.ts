import type { EntityManager } from 'typeorm';
import type { TenantAccess } from '../access.ts';
import type { Principal } from '../auth/principal.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';

export function toTenant(row: TenantAccess): Schemas['Tenant'] {
  return { ...row, createdAt: row.createdAt.toISOString(), updatedAt: row.updatedAt.toISOString() };
}

const columns = `id, name, slug, reading_retention_days AS readingRetentionDays, unknown_devices AS unknownDevices,
  devices_per_minute AS devicesPerMinute, version,
  created_at AS createdAt, updated_at AS updatedAt`;

export async function readTenant(manager: EntityManager, id: string): Promise<TenantAccess> {
  const [row] = (await manager.query(`SELECT ${columns} FROM tenants WHERE id = ?`, [id])) as [TenantAccess];
  return row;
}

/** The tenants that a principal knows of, by name. */
export async function listTenants(
  manager: EntityManager,
  principal: Principal,
  page: PageRequest,
): Promise<TenantAccess[]> {
  const ids = principal.memberships.map((each) => each.tenantId);
  if (!principal.isAdmin && ids.length === 0) return [];
  const where = [...(principal.isAdmin ? [] : ['id IN (?)']), ...(page.after ? ['name > ?'] : [])];
  return manager.query(
    `SELECT ${columns} FROM tenants ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''} ORDER BY name LIMIT ?`,
    [...(principal.isAdmin ? [] : [ids]), ...(page.after ?? []), page.limit + 1],
  );
}

export interface NewTenant {
  id: string;
  name: string;
  slug: string;
  readingRetentionDays: number | null;
}

export async function insertTenant(manager: EntityManager, tenant: NewTenant): Promise<void> {
  const now = new Date();
  await manager.query(
    'INSERT INTO tenants (id, name, slug, reading_retention_days, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)',
    [tenant.id, tenant.name, tenant.slug, tenant.readingRetentionDays, now, now],
  );
}

/** Locks the row and answers with its version. */
export async function lockTenant(manager: EntityManager, id: string): Promise<number> {
  const [row] = (await manager.query('SELECT version FROM tenants WHERE id = ? FOR UPDATE', [id])) as {
    version: number;
  }[];
  return row?.version ?? 0;
}

export interface TenantColumns {
  name?: string;
  slug?: string;
  reading_retention_days?: number | null;
  unknown_devices?: string;
  devices_per_minute?: number;
}

export async function updateTenantRow(
  manager: EntityManager,
  id: string,
  changes: TenantColumns,
): Promise<void> {
  const names = Object.keys(changes);
  await manager.query(
    `UPDATE tenants SET ${names.map((name) => `${name} = ?, `).join('')} version = version + 1, updated_at = ? WHERE id = ?`,
    [...Object.values(changes), new Date(), id],
  );
}

export async function tenantHasBoards(manager: EntityManager, id: string): Promise<boolean> {
  const rows = (await manager.query('SELECT 1 FROM boards WHERE tenant_id = ? LIMIT 1', [id])) as unknown[];
  return rows.length > 0;
}

export interface MemberRow {
  user: string;
  username: string;
  displayName: string | null;
  role: Schemas['TenantRole'];
  createdAt: Date;
}

const memberSelect = `SELECT u.id AS user, u.username, u.display_name AS displayName, m.role, m.created_at AS createdAt
  FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.tenant_id = ?`;

export function toMember(row: MemberRow): Schemas['Member'] {
  return { ...row, createdAt: row.createdAt.toISOString() };
}

export async function listMembers(
  manager: EntityManager,
  tenantId: string,
  page: PageRequest,
): Promise<MemberRow[]> {
  return manager.query(
    `${memberSelect} ${page.after ? 'AND u.username > ?' : ''} ORDER BY u.username LIMIT ?`,
    [tenantId, ...(page.after ?? []), page.limit + 1],
  );
}

export async function setMemberRow(
  manager: EntityManager,
  tenantId: string,
  userId: string,
  role: Schemas['TenantRole'],
): Promise<MemberRow> {
  await manager.query(
    `INSERT INTO memberships (tenant_id, user_id, role, created_at) VALUES (?, ?, ?, ?)
     ON DUPLICATE KEY UPDATE role = VALUES(role)`,
    [tenantId, userId, role, new Date()],
  );
  const [row] = (await manager.query(`${memberSelect} AND u.id = ?`, [tenantId, userId])) as [MemberRow];
  return row;
}

/** Whether there was such a member. */
export async function removeMemberRow(
  manager: EntityManager,
  tenantId: string,
  userId: string,
): Promise<boolean> {
  const result = (await manager.query('DELETE FROM memberships WHERE tenant_id = ? AND user_id = ?', [
    tenantId,
    userId,
  ])) as { affectedRows: number };
  return result.affectedRows === 1;
}
