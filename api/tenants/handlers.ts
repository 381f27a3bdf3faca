import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { isDuplicate } from '../../common/db/fault-kind.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { getTenantAccess } from '../access.ts';
import { auditChange } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import { refuseDuplicate } from '../http/name-taken.ts';
import type { HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import type { BoardAsks } from '../modules/board-asks.ts';
import { clearDeliveries, findWebhookIds } from '../webhooks/webhook-queries.ts';
import { slugOf, withSuffix } from './slug.ts';
import {
  insertTenant,
  listTenants,
  lockTenant,
  readTenant,
  tenantHasBoards,
  toTenant,
  updateTenantRow,
} from './tenant-queries.ts';

type TenantOperations = 'listTenants' | 'createTenant' | 'getTenant' | 'updateTenant' | 'deleteTenant';

const order = 'name';

export function createTenantHandlers({ database }: ApiDeps, asks: BoardAsks): HandlersOf<TenantOperations> {
  return {
    async listTenants(request) {
      const page = pageRequest(request.query, order, ['text']);
      const rows = await database.read((manager) => listTenants(manager, request.principal, page));
      return { status: 200, body: toPage(rows, page.limit, order, toTenant, (row) => [row.name]) };
    },

    async createTenant(request) {
      return createOnce(database, request, async (manager) => {
        const id = randomUUID();
        await insertWithSlug(manager, { id, ...request.body });
        await auditChange(manager, request, { tenantId: id, targetKind: 'tenant', target: id });
        const tenant = toTenant(await readTenant(manager, id));
        return { status: 201, headers: { Location: `/v1/tenants/${id}` }, body: tenant };
      });
    },

    async getTenant(request) {
      const row = await database.read((manager) => getTenantAccess(manager, request, request.path.tenant));
      return { status: 200, headers: versionTag(row.version), body: toTenant(row) };
    },

    async updateTenant(request) {
      const { name, slug, readingRetentionDays, unknownDevices, devicesPerMinute } = request.body;
      const expected = expectedVersion(request);
      const tenant = await database.transaction(async (manager) => {
        const { id } = await getTenantAccess(manager, request, request.path.tenant);
        requireVersion(expected, await lockTenant(manager, id));
        await refuseDuplicate('uq_tenants_name', '/name', () =>
          refuseDuplicate('uq_tenants_slug', '/slug', () =>
            updateTenantRow(manager, id, {
              ...(name !== undefined && { name }),
              ...(slug !== undefined && { slug }),
              ...(readingRetentionDays !== undefined && { reading_retention_days: readingRetentionDays }),
              ...(unknownDevices !== undefined && { unknown_devices: unknownDevices }),
              ...(devicesPerMinute !== undefined && { devices_per_minute: devicesPerMinute }),
            }),
          ),
        );
        await auditChange(manager, request, { tenantId: id, targetKind: 'tenant', target: id });
        return toTenant(await readTenant(manager, id));
      });
      if (unknownDevices !== undefined || devicesPerMinute !== undefined)
        asks.askTenant(tenant.id, request.context.traceparent);
      return { status: 200, headers: versionTag(tenant.version), body: tenant };
    },

    async deleteTenant(request) {
      const requireEmpty = async (manager: EntityManager, id: string) => {
        if (await tenantHasBoards(manager, id))
          throw new AppError('conflict', 'the tenant still has boards; delete them first');
      };
      const webhooks = await database.read(async (manager) => {
        const { id } = await getTenantAccess(manager, request, request.path.tenant);
        await requireEmpty(manager, id);
        return findWebhookIds(manager, id);
      });
      for (const each of webhooks) await clearDeliveries(database, each);
      await database.transaction(async (manager) => {
        const { id } = await getTenantAccess(manager, request, request.path.tenant);
        await lockTenant(manager, id);
        await requireEmpty(manager, id);
        await manager.query('DELETE FROM tenants WHERE id = ?', [id]);
        await auditChange(manager, request, { tenantId: id, targetKind: 'tenant', target: id });
      });
      return { status: 204 };
    },
  };
}

/** A slug that the client chose must be free; one made from the name gives way. */
async function insertWithSlug(
  manager: EntityManager,
  tenant: { id: string; name: string; slug?: string; readingRetentionDays?: number | null },
): Promise<void> {
  const { id, name, readingRetentionDays = null } = tenant;
  const chosen = tenant.slug ?? slugOf(name);
  await refuseDuplicate('uq_tenants_name', '/name', async () => {
    try {
      await insertTenant(manager, { id, name, slug: chosen, readingRetentionDays });
    } catch (error) {
      if (tenant.slug !== undefined || !isDuplicate(error, 'uq_tenants_slug')) throw error;
      await insertTenant(manager, { id, name, slug: withSuffix(chosen), readingRetentionDays });
    }
  }).catch((error: unknown) => {
    if (!isDuplicate(error, 'uq_tenants_slug')) throw error;
    throw new AppError('name-taken', 'this slug is taken', {
      cause: error,
      details: { errors: [{ pointer: '/slug', detail: 'is taken' }] },
    });
  });
}
