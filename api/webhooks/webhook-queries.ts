/** Webhooks and their log in the database; each function is one step of a transaction. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { WebhookPayload } from '../../common/db/queries/webhook-rows.ts';
import { webhookRetryHours } from '../../common/db/queries/webhook-rows.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid, type JsonObject } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';
import { insertRow, updateRow } from '../http/versioned-rows.ts';

export interface WebhookRow {
  id: string;
  tenant: string;
  name: string;
  url: string;
  types: string | Schemas['WebhookTypes'];
  state: Schemas['Webhook']['state'];
  disabledReason: string | null;
  failingSince: Date | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

const columns = `id, tenant_id AS tenant, name, url, types, state, disabled_reason AS disabledReason,
  failing_since AS failingSince, created_by AS createdBy, version, created_at AS createdAt, updated_at AS updatedAt`;

export function toWebhook(row: WebhookRow): Schemas['Webhook'] {
  return {
    ...row,
    types: fromJsonColumn(row.types),
    failingSince: row.failingSince?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export async function listWebhookRows(
  manager: EntityManager,
  tenantId: string,
  page: PageRequest,
): Promise<WebhookRow[]> {
  return manager.query(
    `SELECT ${columns} FROM webhooks WHERE tenant_id = ? ${page.after ? 'AND name > ?' : ''} ORDER BY name LIMIT ?`,
    [tenantId, ...(page.after ?? []), page.limit + 1],
  );
}

/**
 * By id or name within the tenant. Throws AppError `not-found`.
 * @param lock for a change
 */
export async function getWebhookRow(
  manager: EntityManager,
  tenantId: string,
  reference: string,
  { lock = false }: { lock?: boolean } = {},
): Promise<WebhookRow> {
  const [row] = (await manager.query(
    `SELECT ${columns} FROM webhooks WHERE tenant_id = ? AND ${isUuid(reference) ? 'id' : 'name'} = ?${lock ? ' FOR UPDATE' : ''}`,
    [tenantId, reference],
  )) as WebhookRow[];
  if (!row) throw new AppError('not-found', 'there is no such webhook');
  return row;
}

export async function insertWebhook(
  manager: EntityManager,
  row: {
    id: string;
    tenantId: string;
    name: string;
    url: string;
    types: readonly string[];
    secret: Buffer;
    createdBy: string;
  },
): Promise<void> {
  const { id, tenantId, name, url, types, secret, createdBy } = row;
  await insertRow(manager, 'webhooks', {
    id,
    tenant_id: tenantId,
    name,
    url,
    types: JSON.stringify(types),
    secret,
    state: 'active',
    created_by: createdBy,
  });
}

export const maxWebhooks = 50;

/** Each event of a tenant goes to all of its webhooks. Throws AppError `quota-exceeded`. */
export async function requireRoom(manager: EntityManager, tenantId: string): Promise<void> {
  // Others that make one wait here: the number holds exactly.
  await manager.query('SELECT id FROM tenants WHERE id = ? FOR UPDATE', [tenantId]);
  const [row] = (await manager.query('SELECT COUNT(*) AS count FROM webhooks WHERE tenant_id = ?', [
    tenantId,
  ])) as { count: number | string }[];
  const used = Number(row?.count ?? 0);
  if (used >= maxWebhooks)
    throw new AppError('quota-exceeded', `the tenant may have ${maxWebhooks} webhooks and has ${used}`, {
      details: { limit: maxWebhooks, used },
    });
}

export async function findWebhookIds(manager: EntityManager, tenantId: string): Promise<string[]> {
  const rows = (await manager.query('SELECT id FROM webhooks WHERE tenant_id = ?', [tenantId])) as {
    id: string;
  }[];
  return rows.map(({ id }) => id);
}

const deliveriesAtOnce = 2000;

/** Sends nothing more, and forgets what was and was to be sent. It may be done again. */
export async function clearDeliveries(database: Database, webhookId: string): Promise<void> {
  await database.transaction((manager) =>
    manager.query(
      `UPDATE webhooks SET state = 'disabled', disabled_reason = 'being deleted' WHERE id = ? AND state = 'active'`,
      [webhookId],
    ),
  );
  for (let deleted = deliveriesAtOnce; deleted === deliveriesAtOnce; ) {
    const result = await database.transaction<{ affectedRows: number }>((manager) =>
      manager.query('DELETE FROM webhook_deliveries WHERE webhook_id = ? ORDER BY id LIMIT ?', [
        webhookId,
        deliveriesAtOnce,
      ]),
    );
    deleted = result.affectedRows;
  }
}

export interface WebhookColumns {
  name?: string;
  url?: string;
  types?: string;
  secret?: Buffer;
  state?: string;
  disabled_reason?: string | null;
  failing_since?: Date | null;
}

export async function updateWebhookRow(
  manager: EntityManager,
  id: string,
  values: WebhookColumns,
): Promise<void> {
  await updateRow(manager, 'webhooks', { id }, values);
}

export interface DeliveryRow {
  id: number | string;
  type: string;
  state: Schemas['WebhookDeliveryState'];
  attempts: number;
  nextAt: Date | null;
  status: number | null;
  error: string | null;
  durationMs: number | null;
  createdAt: Date;
  attemptedAt: Date | null;
  payload: string | JsonObject;
}

const deliveryColumns = `id, type, state, attempts, next_at AS nextAt, status, error, duration_ms AS durationMs,
  created_at AS createdAt, attempted_at AS attemptedAt, payload`;

export function toDelivery(row: DeliveryRow): Schemas['WebhookDelivery'] {
  return {
    ...row,
    id: String(row.id),
    nextAt: row.nextAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    attemptedAt: row.attemptedAt?.toISOString() ?? null,
    payload: fromJsonColumn<JsonObject | null>(row.payload) ?? {},
  };
}

/** Newest first. */
export async function listDeliveryRows(
  manager: EntityManager,
  webhookId: string,
  state: string | undefined,
  page: PageRequest,
): Promise<DeliveryRow[]> {
  return manager.query(
    `SELECT ${deliveryColumns} FROM webhook_deliveries WHERE webhook_id = ?
     ${state === undefined ? '' : 'AND state = ?'} ${page.after ? 'AND id < ?' : ''} ORDER BY id DESC LIMIT ?`,
    [webhookId, ...(state === undefined ? [] : [state]), ...(page.after ?? []), page.limit + 1],
  );
}

/** Throws AppError `not-found`. */
export async function readDelivery(
  manager: EntityManager,
  webhookId: string,
  id: string,
): Promise<DeliveryRow> {
  const [row] = (await manager.query(
    `SELECT ${deliveryColumns} FROM webhook_deliveries WHERE webhook_id = ? AND id = ?`,
    [webhookId, id],
  )) as DeliveryRow[];
  if (!row) throw new AppError('not-found', 'there is no such delivery');
  return row;
}

/** An event that is this webhook's alone. */
export async function insertTestDelivery(
  manager: EntityManager,
  webhookId: string,
  payload: WebhookPayload,
): Promise<string> {
  const result = (await manager.query(
    `INSERT INTO webhook_deliveries (webhook_id, event_id, type, payload, state, next_at, give_up_at, created_at)
     VALUES (?, UUID_SHORT(), ?, ?, 'pending', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL ? HOUR, UTC_TIMESTAMP(3))`,
    [webhookId, payload.type, JSON.stringify(payload), webhookRetryHours],
  )) as { insertId: number | string };
  return String(result.insertId);
}

/** From the beginning, as if it were new. False unless it had been given up. */
export async function sendAgain(manager: EntityManager, webhookId: string, id: string): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE webhook_deliveries SET state = 'pending', attempts = 0, next_at = UTC_TIMESTAMP(3),
            give_up_at = UTC_TIMESTAMP(3) + INTERVAL ? HOUR
     WHERE webhook_id = ? AND id = ? AND state = 'failed'`,
    [webhookRetryHours, webhookId, id],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}
