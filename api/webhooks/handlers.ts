/** Where events are posted to. The conductor does the posting. */
import { randomUUID } from 'node:crypto';
import { parseWebhookUrl, resolveWebhook } from '../../common/webhooks/addresses.ts';
import { createWebhookSecret, sealSecret } from '../../common/webhooks/secrets.ts';
import { getTenantAccess } from '../access.ts';
import { creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import type { HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import { auditWebhook } from './audit-webhook.ts';
import { createDeliveryHandlers, type DeliveryOperations } from './delivery-handlers.ts';
import {
  clearDeliveries,
  getWebhookRow,
  insertWebhook,
  listWebhookRows,
  requireRoom,
  toWebhook,
  updateWebhookRow,
  type WebhookColumns,
  type WebhookRow,
} from './webhook-queries.ts';

type WebhookOperations =
  | 'listWebhooks'
  | 'createWebhook'
  | 'getWebhook'
  | 'updateWebhook'
  | 'deleteWebhook'
  | 'renewWebhookSecret'
  | DeliveryOperations;

const byName = 'name';

export function createWebhookHandlers(deps: ApiDeps): HandlersOf<WebhookOperations> {
  const { database, config } = deps;
  const { key, allowPrivate } = config.webhooks;

  /** Outside of transactions: a name may take long to be found. */
  async function checkUrl(url: string): Promise<void> {
    await resolveWebhook(parseWebhookUrl(url), { allowPrivate });
  }

  return {
    ...createDeliveryHandlers(deps),

    async listWebhooks(request) {
      const page = pageRequest(request.query, byName, ['text']);
      const rows = await database.read(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        return listWebhookRows(manager, tenant.id, page);
      });
      return { status: 200, body: toPage(rows, page.limit, byName, toWebhook, (row) => [row.name]) };
    },

    async createWebhook(request) {
      const { name, url, types } = request.body;
      const tenant = await database.read((manager) => getTenantAccess(manager, request, request.path.tenant));
      await checkUrl(url);
      return createOnce(database, request, async (manager) => {
        const id = randomUUID();
        const secret = createWebhookSecret();
        await requireRoom(manager, tenant.id);
        await insertWebhook(manager, {
          id,
          tenantId: tenant.id,
          name,
          url,
          types,
          secret: sealSecret(key, id, secret),
          createdBy: creatorOf(request.principal),
        });
        await auditWebhook(
          manager,
          request,
          { id, tenant: tenant.id },
          { name, types, host: new URL(url).host },
        );
        const webhook = toWebhook(await getWebhookRow(manager, tenant.id, id));
        return {
          status: 201,
          headers: {
            Location: `/v1/tenants/${tenant.id}/webhooks/${id}`,
            ...versionTag(webhook.version),
          },
          body: { ...webhook, secret },
        };
      });
    },

    async getWebhook(request) {
      const row = await database.read(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        return getWebhookRow(manager, tenant.id, request.path.webhook);
      });
      return { status: 200, headers: versionTag(row.version), body: toWebhook(row) };
    },

    async updateWebhook(request) {
      const { version: _version, types, state, ...fields } = request.body;
      const expected = expectedVersion(request);
      const tenant = await database.read((manager) => getTenantAccess(manager, request, request.path.tenant));
      if (fields.url !== undefined) await checkUrl(fields.url);
      const webhook = await database.transaction(async (manager) => {
        const row = await getWebhookRow(manager, tenant.id, request.path.webhook, { lock: true });
        requireVersion(expected, row.version);
        await updateWebhookRow(manager, row.id, {
          ...fields,
          ...(types && { types: JSON.stringify(types) }),
          ...(state !== undefined && moveTo(state, row)),
        });
        await auditWebhook(manager, request, row, {
          fields: Object.keys(request.body).filter((field) => field !== 'version'),
          ...(state !== undefined && { state }),
          // The rest of a URL may hold a secret of its receiver's.
          ...(fields.url !== undefined && { host: new URL(fields.url).host }),
        });
        return toWebhook(await getWebhookRow(manager, tenant.id, row.id));
      });
      return { status: 200, headers: versionTag(webhook.version), body: webhook };
    },

    async deleteWebhook(request) {
      const row = await database.read(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        return getWebhookRow(manager, tenant.id, request.path.webhook);
      });
      // Its log may be long: in one transaction with the rest it would hold up whoever delivers.
      await clearDeliveries(database, row.id);
      await database.transaction(async (manager) => {
        await manager.query('DELETE FROM webhooks WHERE id = ?', [row.id]);
        await auditWebhook(manager, request, row, { name: row.name });
      });
      return { status: 204 };
    },

    async renewWebhookSecret(request) {
      const secret = createWebhookSecret();
      const webhook = await database.transaction(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        const row = await getWebhookRow(manager, tenant.id, request.path.webhook);
        await updateWebhookRow(manager, row.id, { secret: sealSecret(key, row.id, secret) });
        await auditWebhook(manager, request, row, { name: row.name });
        return toWebhook(await getWebhookRow(manager, tenant.id, row.id));
      });
      return { status: 200, body: { ...webhook, secret } };
    },
  };
}

/** What had waited while it was disabled is sent when it is active again. */
function moveTo(state: 'active' | 'disabled', row: WebhookRow): WebhookColumns {
  if (state === row.state) return {};
  if (state === 'disabled') return { state, disabled_reason: 'disabled by hand' };
  return { state, disabled_reason: null, failing_since: null };
}
