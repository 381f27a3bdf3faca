/** What the sender of webhooks reads and writes. */
import type { EntityManager } from 'typeorm';
import { recordAudit } from '../../common/db/queries/audit.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';

/** Active webhooks that have something to send now: one look into an index for each active one. */
export async function findDueWebhooks(manager: EntityManager, now: Date): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT w.id FROM webhooks w WHERE w.state = 'active' AND EXISTS (
       SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending' AND d.next_at <= ?)`,
    [now],
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}

export interface DueDelivery {
  id: number;
  webhookId: string;
  type: string;
  payload: JsonObject | string;
  /** Before the one that is to be made. */
  attempts: number;
  nextAt: Date;
  giveUpAt: Date;
}

/** So many of each webhook, the longest due first. */
export async function findDueDeliveries(
  manager: EntityManager,
  wanted: readonly { webhookId: string; limit: number }[],
  now: Date,
): Promise<DueDelivery[]> {
  if (wanted.length === 0) return [];
  const one = `(SELECT id, webhook_id AS webhookId, type, payload, attempts, next_at AS nextAt, give_up_at AS giveUpAt
     FROM webhook_deliveries WHERE webhook_id = ? AND state = 'pending' AND next_at <= ? ORDER BY next_at LIMIT ?)`;
  const rows = (await manager.query(
    wanted.map(() => one).join(' UNION ALL '),
    wanted.flatMap(({ webhookId, limit }) => [webhookId, now, limit]),
  )) as DueDelivery[];
  return rows.map((row) => ({ ...row, id: Number(row.id) }));
}

/** False when another conductor took it. While it is taken it is due again when this process has died. */
export async function claimDelivery(
  manager: EntityManager,
  { id, nextAt }: DueDelivery,
  leaseSeconds: number,
): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE webhook_deliveries SET next_at = UTC_TIMESTAMP(3) + INTERVAL ? SECOND, attempts = attempts + 1,
            attempted_at = UTC_TIMESTAMP(3)
     WHERE id = ? AND state = 'pending' AND next_at = ?`,
    [leaseSeconds, id, nextAt],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

export interface WebhookTarget {
  id: string;
  tenantId: string;
  name: string;
  url: string;
  secret: Buffer;
  failingSince: Date | null;
}

/** Those that are active. */
export async function findTargets(
  manager: EntityManager,
  ids: readonly string[],
): Promise<Map<string, WebhookTarget>> {
  if (ids.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT id, tenant_id AS tenantId, name, url, secret, failing_since AS failingSince FROM webhooks
     WHERE id IN (?) AND state = 'active'`,
    [ids],
  )) as WebhookTarget[];
  return new Map(rows.map((row) => [row.id, row]));
}

export interface AttemptResult {
  state: 'pending' | 'delivered' | 'failed';
  /** Of `pending`. */
  nextInMs?: number;
  status: number | null;
  error: string | null;
  durationMs: number;
}

export async function recordAttempt(
  manager: EntityManager,
  deliveryId: number,
  { state, nextInMs = 0, status, error, durationMs }: AttemptResult,
): Promise<void> {
  await manager.query(
    `UPDATE webhook_deliveries SET state = ?, status = ?, error = ?, duration_ms = ?,
            next_at = ${state === 'pending' ? 'UTC_TIMESTAMP(3) + INTERVAL ? SECOND' : 'NULL'}
     WHERE id = ? AND state = 'pending'`,
    [
      state,
      status,
      error?.slice(0, 300) ?? null,
      durationMs,
      ...(state === 'pending' ? [nextInMs / 1000] : []),
      deliveryId,
    ],
  );
}

export async function markWorking(manager: EntityManager, webhookId: string): Promise<void> {
  await manager.query('UPDATE webhooks SET failing_since = NULL WHERE id = ? AND failing_since IS NOT NULL', [
    webhookId,
  ]);
}

export async function markFailing(manager: EntityManager, webhookId: string, since: Date): Promise<void> {
  await manager.query('UPDATE webhooks SET failing_since = ? WHERE id = ? AND failing_since IS NULL', [
    since,
    webhookId,
  ]);
}

/**
 * Its owners find the reason in it and in the audit trail. False when it is disabled already, or has
 * not been failing since `failingBefore`.
 */
export async function disableWebhook(
  manager: EntityManager,
  { id, tenantId, name }: Pick<WebhookTarget, 'id' | 'tenantId' | 'name'>,
  reason: string,
  failingBefore?: Date,
): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE webhooks SET state = 'disabled', disabled_reason = ?, version = version + 1, updated_at = UTC_TIMESTAMP(3)
     WHERE id = ? AND state = 'active'${failingBefore ? ' AND failing_since <= ?' : ''}`,
    [reason.slice(0, 300), id, ...(failingBefore ? [failingBefore] : [])],
  )) as { affectedRows: number };
  if (result.affectedRows === 0) return false;
  await recordAudit(manager, {
    tenantId,
    actorKind: 'process',
    actor: 'conductor',
    action: 'disableWebhook',
    targetKind: 'webhook',
    target: id,
    result: 'ok',
    detail: { name, reason },
  });
  return true;
}
