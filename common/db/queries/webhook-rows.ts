/** Deliveries of webhooks: the outbox, which the conductor fills and empties and the api shows. */
import type { EntityManager } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';

/** No attempt is made after this. */
export const webhookRetryHours = 24;

/** Body of the requests. */
export interface WebhookPayload {
  /** Of the event; the same for all webhooks that it goes to. */
  id: string;
  type: string;
  /** uuid */
  tenant: string;
  /** RFC 3339. */
  at: string;
  data: JsonObject;
}

export interface NewDelivery {
  webhookId: string;
  eventId: number | string;
  payload: WebhookPayload;
}

/** Each event once per webhook, whoever inserts it and how often. Answers with how many were new. */
export async function insertDeliveries(
  manager: EntityManager,
  deliveries: readonly NewDelivery[],
): Promise<number> {
  if (deliveries.length === 0) return 0;
  const result = (await manager.query(
    `INSERT IGNORE INTO webhook_deliveries
       (webhook_id, event_id, type, payload, state, next_at, give_up_at, created_at)
     VALUES ${deliveries
       .map(
         () =>
           `(?, ?, ?, ?, 'pending', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL ${webhookRetryHours} HOUR, UTC_TIMESTAMP(3))`,
       )
       .join(', ')}`,
    deliveries.flatMap(({ webhookId, eventId, payload }) => [
      webhookId,
      eventId,
      payload.type,
      JSON.stringify(payload),
    ]),
  )) as { affectedRows: number };
  return result.affectedRows;
}
