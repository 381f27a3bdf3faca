/** The log of a webhook, and sending by hand. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { AppError } from '../../common/runtime/app-error.ts';
import { getTenantAccess } from '../access.ts';
import type { ApiDeps } from '../deps.ts';
import type { ApiRequest, HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { auditWebhook } from './audit-webhook.ts';
import {
  getWebhookRow,
  insertTestDelivery,
  listDeliveryRows,
  readDelivery,
  sendAgain,
  toDelivery,
  type WebhookRow,
} from './webhook-queries.ts';

export type DeliveryOperations = 'testWebhook' | 'listWebhookDeliveries' | 'redeliverWebhook';

const newest = 'newest';

export function createDeliveryHandlers({ database }: ApiDeps): HandlersOf<DeliveryOperations> {
  async function find(manager: EntityManager, request: ApiRequest<DeliveryOperations>): Promise<WebhookRow> {
    const tenant = await getTenantAccess(manager, request, request.path.tenant);
    return getWebhookRow(manager, tenant.id, request.path.webhook);
  }

  return {
    async testWebhook(request) {
      const delivery = await database.transaction(async (manager) => {
        const webhook = await find(manager, request);
        requireActive(webhook);
        const id = await insertTestDelivery(manager, webhook.id, {
          id: `test-${randomUUID()}`,
          type: 'test',
          tenant: webhook.tenant,
          at: new Date().toISOString(),
          data: { webhook: webhook.id, name: webhook.name },
        });
        await auditWebhook(manager, request, webhook, { delivery: id });
        return toDelivery(await readDelivery(manager, webhook.id, id));
      });
      return { status: 202, body: delivery };
    },

    async listWebhookDeliveries(request) {
      const page = pageRequest(request.query, newest, ['number']);
      const rows = await database.read(async (manager) =>
        listDeliveryRows(manager, (await find(manager, request)).id, request.query.state, page),
      );
      return { status: 200, body: toPage(rows, page.limit, newest, toDelivery, (row) => [Number(row.id)]) };
    },

    async redeliverWebhook(request) {
      const { delivery: id } = request.path;
      const delivery = await database.transaction(async (manager) => {
        const webhook = await find(manager, request);
        requireActive(webhook);
        await readDelivery(manager, webhook.id, id);
        if (!(await sendAgain(manager, webhook.id, id)))
          throw new AppError('conflict', 'it is sent again only when it was given up');
        await auditWebhook(manager, request, webhook, { delivery: id });
        return toDelivery(await readDelivery(manager, webhook.id, id));
      });
      return { status: 202, body: delivery };
    },
  };
}

/** Throws AppError `conflict` for one that sends nothing. */
function requireActive({ state }: WebhookRow): void {
  if (state !== 'active') throw new AppError('conflict', 'the webhook is disabled; enable it first');
}
