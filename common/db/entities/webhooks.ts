/** Webhooks, their outbox with its log, and how far the events have been read for them. */
import { EntitySchema } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, json, nullable, text, time, uuid, whole } from './columns.ts';
import { goesWith, ofTenant } from './foreign-keys.ts';

export interface Webhook {
  id: string;
  tenantId: string;
  name: string;
  url: string;
  /** Event types that are sent. */
  types: string[];
  /** Key of the signatures, encrypted. */
  secret: Buffer;
  /** active, disabled. */
  state: string;
  disabledReason: string | null;
  failingSince: Date | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const WebhookEntity = new EntitySchema<Webhook>({
  name: 'Webhook',
  tableName: 'webhooks',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    url: text('url', 500),
    types: json('types'),
    secret: { name: 'secret', type: 'blob' },
    state: ascii('state', 20),
    disabledReason: text('disabled_reason', 300, nullable),
    failingSince: time('failing_since', nullable),
    createdBy: ascii('created_by', 60),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'uq_webhooks_name', columns: ['tenantId', 'name'], unique: true },
    { name: 'ix_webhooks_state', columns: ['state'] },
  ],
  foreignKeys: ofTenant('fk_webhooks_tenant'),
});

export interface WebhookDelivery {
  id: number;
  webhookId: string;
  eventId: number;
  type: string;
  payload: JsonObject;
  /** pending, delivered, failed (given up). */
  state: string;
  attempts: number;
  nextAt: Date | null;
  /** No attempt is made after this. */
  giveUpAt: Date;
  /** HTTP status of the last attempt. */
  status: number | null;
  error: string | null;
  durationMs: number | null;
  createdAt: Date;
  attemptedAt: Date | null;
}

export const WebhookDeliveryEntity = new EntitySchema<WebhookDelivery>({
  name: 'WebhookDelivery',
  tableName: 'webhook_deliveries',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    webhookId: uuid('webhook_id'),
    eventId: big('event_id'),
    type: ascii('type', 40),
    payload: json('payload'),
    state: ascii('state', 20),
    attempts: whole('attempts', { default: 0 }),
    nextAt: time('next_at', nullable),
    giveUpAt: time('give_up_at'),
    status: { name: 'status', type: 'smallint', unsigned: true, nullable: true },
    error: text('error', 300, nullable),
    durationMs: whole('duration_ms', nullable),
    createdAt: time('created_at'),
    attemptedAt: time('attempted_at', nullable),
  },
  indices: [
    { name: 'uq_webhook_deliveries_event', columns: ['webhookId', 'eventId'], unique: true },
    { name: 'ix_webhook_deliveries_due', columns: ['webhookId', 'state', 'nextAt'] },
    { name: 'ix_webhook_deliveries_log', columns: ['webhookId', 'id'] },
    { name: 'ix_webhook_deliveries_created', columns: ['createdAt'] },
  ],
  foreignKeys: goesWith('fk_webhook_deliveries_webhook', 'Webhook', 'webhookId', 'id'),
});

export interface EventCursor {
  name: string;
  readUntil: Date;
}

export const EventCursorEntity = new EntitySchema<EventCursor>({
  name: 'EventCursor',
  tableName: 'event_cursors',
  columns: { name: ascii('name', 60, { primary: true }), readUntil: time('read_until') },
});
