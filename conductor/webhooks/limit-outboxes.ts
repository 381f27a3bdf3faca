/** An outbox that its receiver does not keep up with must not grow without end: its webhook is disabled. */
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';
import { createBudget } from '../tasks/chunks.ts';
import { disableWebhook } from './delivery-queries.ts';

export const maxPending = 50_000;

const runMs = 20_000;

export async function limitOutboxes(context: TaskContext): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const active = (await context.database.read((manager) =>
    manager.query("SELECT id, tenant_id AS tenantId, name FROM webhooks WHERE state = 'active'"),
  )) as { id: string; tenantId: string; name: string }[];
  let disabled = 0;
  for (const webhook of active) {
    if (budget.spent()) break;
    // By index alone, and no further than the limit.
    const found = (await context.database.read((manager) =>
      manager.query(
        `SELECT COUNT(*) AS count FROM (
           SELECT 1 FROM webhook_deliveries WHERE webhook_id = ? AND state = 'pending' LIMIT ${maxPending}) waiting`,
        [webhook.id],
      ),
    )) as { count: number | string }[];
    if (Number(found[0]?.count) < maxPending) continue;
    const reason = `${maxPending} deliveries wait`;
    context.logger.warn({ webhook: webhook.id, tenant: webhook.tenantId, reason }, 'a webhook was disabled');
    if (await context.write((manager) => disableWebhook(manager, webhook, reason))) disabled += 1;
  }
  return { disabled };
}
