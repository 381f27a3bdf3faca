/**
 * Sends what is in the outboxes of webhooks. Any number of conductors share them: a delivery is taken
 * by pushing its time ahead, by compare-and-set, and is due again by itself when whoever took it died.
 * So a receiver may get one twice, under the same `Boardwalk-Delivery`. Several of a webhook are under
 * way at a time: they may arrive in another order than things happened.
 */
import type { Database } from '../../common/db/database.ts';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import { messageOf } from '../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { WebhookConfig } from '../../common/webhooks/config.ts';
import { openSecret, signBody } from '../../common/webhooks/secrets.ts';
import { startLooks } from '../nap.ts';
import {
  claimDelivery,
  type DueDelivery,
  disableWebhook,
  findDueDeliveries,
  findDueWebhooks,
  findTargets,
  markFailing,
  markWorking,
  recordAttempt,
  type WebhookTarget,
} from './delivery-queries.ts';
import { type PostOutcome, post } from './post.ts';

export interface SenderSettings {
  lookEveryMs: number;
  timeoutMs: number;
  /** Requests under way of this process. */
  inFlight: number;
  inFlightPerWebhook: number;
  /** A webhook that has only failed for so long is disabled. */
  disableAfterMs: number;
  retry: { baseMs: number; capMs: number };
}

export const defaultSenderSettings: SenderSettings = {
  lookEveryMs: 1000,
  timeoutMs: 10_000,
  inFlight: 32,
  inFlightPerWebhook: 4,
  disableAfterMs: 3 * 86_400_000,
  retry: { baseMs: 5000, capMs: 3_600_000 },
};

export type DeliveryOutcome = 'delivered' | 'retry' | 'failed';

export interface SenderOptions {
  database: Database;
  logger: Logger;
  webhooks: WebhookConfig;
  settings?: Partial<SenderSettings>;
  /** Epoch milliseconds by the database's clock; tests give their own. */
  now?: () => Promise<number>;
  onAttempt?: (outcome: DeliveryOutcome, seconds: number) => void;
  onDisabled?: () => void;
}

export interface Sender {
  /** Something was put into an outbox: looks at once. */
  wake(): void;
  inFlight(): number;
  /** Takes nothing more; what is under way has so long to end, and is sent again by others else. */
  stop(limitMs?: number): Promise<void>;
}

/** Sooner than this nothing is tried again. */
const shortestRetryMs = 1000;
/** Beyond its time-out: looking up the name, and writing down the outcome. */
const leaseMarginMs = 20_000;
const stopMs = 3000;

export function startSender(options: SenderOptions): Sender {
  const { database, logger, webhooks } = options;
  const settings = { ...defaultSenderSettings, ...options.settings };
  const now = options.now ?? (() => database.read(getDatabaseTime));
  const stopping = new AbortController();
  const cut = new AbortController();
  const underWay = new Set<Promise<void>>();
  const perWebhook = new Map<string, number>();

  async function look(): Promise<void> {
    const free = settings.inFlight - underWay.size;
    if (free <= 0) return;
    const at = new Date(await now());
    const ids = await database.read((manager) => findDueWebhooks(manager, at));
    const wanted = share(ids, free);
    const due = await database.read((manager) => findDueDeliveries(manager, wanted, at));
    const targets = await database.read((manager) =>
      findTargets(manager, [...new Set(due.map(({ webhookId }) => webhookId))]),
    );
    for (const delivery of due.slice(0, free)) {
      const target = targets.get(delivery.webhookId);
      if (!target || stopping.signal.aborted) continue;
      begin(delivery, target, at.getTime());
    }
  }

  /** Places for each webhook, in a random order, so that none is always the last. */
  function share(ids: readonly string[], free: number): { webhookId: string; limit: number }[] {
    const wanted: { webhookId: string; limit: number }[] = [];
    let left = free;
    for (const webhookId of [...ids].sort(() => Math.random() - 0.5)) {
      const limit = Math.min(left, settings.inFlightPerWebhook - (perWebhook.get(webhookId) ?? 0));
      if (limit <= 0) continue;
      wanted.push({ webhookId, limit });
      left -= limit;
      if (left === 0) break;
    }
    return wanted;
  }

  function begin(delivery: DueDelivery, target: WebhookTarget, at: number): void {
    const { webhookId } = delivery;
    perWebhook.set(webhookId, (perWebhook.get(webhookId) ?? 0) + 1);
    const done = deliver(delivery, target, at)
      .catch((error: unknown) => {
        // It is due again when its lease has ended.
        logger.warn({ err: error, delivery: delivery.id }, 'the outcome of a delivery was not written');
        return false;
      })
      .then((claimed) => {
        underWay.delete(done);
        const count = (perWebhook.get(webhookId) ?? 1) - 1;
        if (count === 0) perWebhook.delete(webhookId);
        else perWebhook.set(webhookId, count);
        // A place is free, and there may be more to send.
        if (claimed) looks.wake();
      });
    underWay.add(done);
  }

  /** False when another conductor has it. */
  async function deliver(delivery: DueDelivery, target: WebhookTarget, at: number): Promise<boolean> {
    const leaseSeconds = (settings.timeoutMs + leaseMarginMs) / 1000;
    if (!(await database.read((manager) => claimDelivery(manager, delivery, leaseSeconds)))) return false;
    const startedAt = performance.now();
    const outcome = await attempt(delivery, target, at);
    if (!outcome.ok && cut.signal.aborted) {
      // That was no fault of the receiver's.
      const again = { state: 'pending', ...outcome, durationMs: 0 } as const;
      await database.read((manager) => recordAttempt(manager, delivery.id, again));
      return true;
    }
    await record(delivery, target, at, outcome, Math.round(performance.now() - startedAt));
    return true;
  }

  async function attempt(delivery: DueDelivery, target: WebhookTarget, at: number): Promise<PostOutcome> {
    const { id, type, payload } = delivery;
    const body = typeof payload === 'string' ? payload : JSON.stringify(payload);
    let secret: string;
    try {
      secret = openSecret(webhooks.key, target.id, target.secret);
    } catch (error) {
      logger.warn({ webhook: target.id, reason: messageOf(error) }, 'the secret of a webhook cannot be read');
      return { ok: false, status: null, error: 'its secret cannot be read any more; give it a new one' };
    }
    return post({
      url: target.url,
      body,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Boardwalk-Webhooks',
        'boardwalk-delivery': String(id),
        'boardwalk-event': type,
        'boardwalk-signature': signBody(secret, Math.floor(at / 1000), body),
      },
      allowPrivate: webhooks.allowPrivate,
      timeoutMs: settings.timeoutMs,
      signal: cut.signal,
    });
  }

  async function record(
    delivery: DueDelivery,
    target: WebhookTarget,
    at: number,
    { ok, status, error }: PostOutcome,
    durationMs: number,
  ): Promise<void> {
    const { id, webhookId, attempts, giveUpAt } = delivery;
    const nextInMs = Math.max(shortestRetryMs, backoffDelayMs(attempts, settings.retry));
    const isOver = at + nextInMs > giveUpAt.getTime();
    const state = ok ? 'delivered' : isOver ? 'failed' : 'pending';
    const disabled = await database.transaction(
      async (manager) => {
        await recordAttempt(manager, id, { state, nextInMs, status, error, durationMs });
        if (ok) {
          await markWorking(manager, webhookId);
          return false;
        }
        await markFailing(manager, webhookId, new Date(at));
        const limit = new Date(at - settings.disableAfterMs);
        if (target.failingSince === null || target.failingSince > limit) return false;
        return disableWebhook(manager, target, `nothing was taken for long; at last: ${error}`, limit);
      },
      { repeatable: true },
    );
    options.onAttempt?.(ok ? 'delivered' : isOver ? 'failed' : 'retry', durationMs / 1000);
    if (!disabled) return;
    logger.warn({ webhook: webhookId, tenant: target.tenantId }, 'a webhook that only failed was disabled');
    options.onDisabled?.();
  }

  const looks = startLooks(
    { subject: 'deliveries', everyMs: settings.lookEveryMs, logger, stopping: stopping.signal },
    look,
  );
  return {
    wake: looks.wake,
    inFlight: () => underWay.size,
    async stop(limitMs = stopMs) {
      stopping.abort();
      await looks.ended;
      const timer = setTimeout(() => cut.abort(), limitMs);
      await Promise.all(underWay);
      clearTimeout(timer);
    },
  };
}
