import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';

export interface ApiKeyRow {
  id: string;
  name: string;
  tenant: string;
  role: Schemas['TenantRole'];
  boards: string | string[] | null;
  procedures: string | string[] | null;
  createdBy: string;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
}

const columns = `id, name, tenant_id AS tenant, role, boards, procedures, created_by AS createdBy,
  created_at AS createdAt, expires_at AS expiresAt, revoked_at AS revokedAt`;

export function toApiKey(row: ApiKeyRow): Schemas['ApiKey'] {
  return {
    ...row,
    boards: fromJsonColumn<string[] | null>(row.boards),
    procedures: fromJsonColumn<string[] | null>(row.procedures),
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    revokedAt: row.revokedAt?.toISOString() ?? null,
  };
}

export async function listApiKeys(
  manager: EntityManager,
  tenantId: string,
  page: PageRequest,
): Promise<ApiKeyRow[]> {
  return manager.query(
    `SELECT ${columns} FROM api_keys WHERE tenant_id = ? ${page.after ? 'AND name > ?' : ''} ORDER BY name LIMIT ?`,
    [tenantId, ...(page.after ?? []), page.limit + 1],
  );
}

/** By id or name within the tenant. Throws AppError `not-found`. */
export async function getApiKey(
  manager: EntityManager,
  tenantId: string,
  reference: string,
): Promise<ApiKeyRow> {
  const [row] = (await manager.query(
    `SELECT ${columns} FROM api_keys WHERE tenant_id = ? AND ${isUuid(reference) ? 'id' : 'name'} = ?`,
    [tenantId, reference],
  )) as ApiKeyRow[];
  if (!row) throw new AppError('not-found', 'there is no such API key');
  return row;
}

export interface NewApiKeyRow {
  id: string;
  tenantId: string;
  name: string;
  secretHash: string;
  role: string;
  boards: readonly string[] | null;
  procedures: readonly string[] | null;
  createdBy: string;
  expiresAt: Date | null;
}

export async function insertApiKey(manager: EntityManager, key: NewApiKeyRow): Promise<void> {
  await manager.query(
    `INSERT INTO api_keys (id, tenant_id, name, secret_hash, role, boards, procedures, created_by, created_at, expires_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      key.id,
      key.tenantId,
      key.name,
      key.secretHash,
      key.role,
      key.boards && JSON.stringify(key.boards),
      key.procedures && JSON.stringify(key.procedures),
      key.createdBy,
      new Date(),
      key.expiresAt,
    ],
  );
}

/** A key that is over must not keep its name from the one that replaces it. */
export async function deleteEndedApiKey(
  manager: EntityManager,
  tenantId: string,
  name: string,
): Promise<void> {
  await manager.query(
    `DELETE FROM api_keys WHERE tenant_id = ? AND name = ?
     AND (revoked_at IS NOT NULL OR expires_at <= UTC_TIMESTAMP(3))`,
    [tenantId, name],
  );
}

export async function revokeApiKeyRow(manager: EntityManager, id: string): Promise<void> {
  await manager.query(
    'UPDATE api_keys SET revoked_at = COALESCE(revoked_at, UTC_TIMESTAMP(3)) WHERE id = ?',
    [id],
  );
}

/** uuids of the tenant's boards with these uuids or names. Throws AppError `board-not-found`. */
export async function resolveBoards(
  manager: EntityManager,
  tenantId: string,
  references: readonly string[],
): Promise<string[]> {
  const rows = (await manager.query(
    'SELECT uuid, name FROM boards WHERE tenant_id = ? AND (uuid IN (?) OR name IN (?))',
    [tenantId, [...references.filter(isUuid), ''], [...references.filter((each) => !isUuid(each)), '']],
  )) as { uuid: string; name: string }[];
  const known = new Set(rows.flatMap((row) => [row.uuid, row.name.toLowerCase()]));
  const missing = references.findIndex((each) => !known.has(each.toLowerCase()));
  if (missing >= 0) {
    throw new AppError('board-not-found', 'there is no such board', {
      details: { errors: [{ pointer: `/boards/${missing}`, detail: 'does not exist' }] },
    });
  }
  return [...new Set(rows.map((row) => row.uuid))];
}
