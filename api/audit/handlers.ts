import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { getTenantAccess } from '../access.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf, Schemas } from '../http/operation.ts';
import { cursorTime, type PageRequest, pageRequest, toPage } from '../http/paging.ts';

type AuditOperations = 'listTenantAuditEvents' | 'listAuditEvents';

const order = 'newest';

export function createAuditHandlers({ database }: ApiDeps): HandlersOf<AuditOperations> {
  return {
    async listTenantAuditEvents(request) {
      const page = pageRequest(request.query, order, ['time', 'number']);
      const rows = await database.read(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        return listAuditRows(manager, page, tenant.id);
      });
      return { status: 200, body: toPage(rows, page.limit, order, toAuditEvent, keyOf) };
    },
    async listAuditEvents(request) {
      const page = pageRequest(request.query, order, ['time', 'number']);
      const rows = await database.read((manager) => listAuditRows(manager, page, undefined));
      return { status: 200, body: toPage(rows, page.limit, order, toAuditEvent, keyOf) };
    },
  };
}

interface AuditRow {
  id: number | string;
  at: Date;
  tenant: string | null;
  actorKind: string;
  actor: string;
  action: string;
  targetKind: string | null;
  target: string | null;
  remoteAddress: string | null;
  result: string;
  detail: string | JsonObject | null;
}

async function listAuditRows(
  manager: EntityManager,
  page: PageRequest,
  tenantId: string | undefined,
): Promise<AuditRow[]> {
  const where: string[] = [];
  const values: unknown[] = [];
  if (tenantId !== undefined) {
    where.push('tenant_id = ?');
    values.push(tenantId);
  }
  if (page.after) {
    const at = cursorTime(page.after[0]);
    where.push('(at < ? OR (at = ? AND id < ?))');
    values.push(at, at, Number(page.after[1]));
  }
  return manager.query(
    `SELECT id, at, tenant_id AS tenant, actor_kind AS actorKind, actor, action, target_kind AS targetKind, target,
            remote_address AS remoteAddress, result, detail
     FROM audit_events ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
     ORDER BY at DESC, id DESC LIMIT ?`,
    [...values, page.limit + 1],
  );
}

function keyOf(row: AuditRow): [number, number] {
  return [row.at.getTime(), Number(row.id)];
}

function toAuditEvent(row: AuditRow): Schemas['AuditEvent'] {
  return {
    ...row,
    id: String(row.id),
    at: row.at.toISOString(),
    detail: fromJsonColumn(row.detail),
  };
}
