/**
 * Publishes to WAMP topics only while somebody has subscribed: a publication costs the router
 * 0.85 ms even when nobody listens. The router tells of subscriptions that come and go.
 */
import type { Logger } from '../../common/runtime/logger.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import { metaUris, parseTenantTopic } from '../../common/wamp/uris.ts';

export interface Publisher {
  /** Follows the subscriptions of a session that has just joined. */
  follow(session: WampSession): Promise<void>;
  /** The session is gone, and what was known with it. */
  reset(): void;
  hasListeners(topic: string): boolean;
  /** Does nothing when nobody listens; never throws. */
  publish(topic: string, payload: object): void;
}

interface Subscription {
  id: number;
  uri: string;
  match: string;
}

export function createPublisher(logger: Logger): Publisher {
  let session: WampSession | undefined;
  const byId = new Map<number, Subscription>();
  /** Subscriptions by tenant: a topic is compared with those of its own tenant only. */
  const byTenant = new Map<string, Set<Subscription>>();

  function add(value: unknown): void {
    const { id, uri, match } = (value ?? {}) as Partial<Subscription>;
    if (typeof id !== 'number' || typeof uri !== 'string' || byId.has(id)) return;
    const tenantId = parseTenantTopic(uri)?.tenantId;
    if (tenantId === undefined) return;
    const subscription = { id, uri, match: match ?? 'exact' };
    byId.set(id, subscription);
    byTenant.set(tenantId, (byTenant.get(tenantId) ?? new Set()).add(subscription));
  }

  function remove(id: unknown): void {
    const subscription = byId.get(Number(id));
    if (!subscription) return;
    byId.delete(subscription.id);
    const tenantId = parseTenantTopic(subscription.uri)?.tenantId ?? '';
    const rest = byTenant.get(tenantId);
    rest?.delete(subscription);
    if (rest?.size === 0) byTenant.delete(tenantId);
  }

  function hasListeners(topic: string): boolean {
    if (byId.size === 0) return false;
    const candidates = byTenant.get(parseTenantTopic(topic)?.tenantId ?? '');
    if (!candidates) return false;
    for (const { uri, match } of candidates)
      if (match === 'prefix' ? topic.startsWith(uri) : topic === uri) return true;
    return false;
  }

  function reset(): void {
    session = undefined;
    byId.clear();
    byTenant.clear();
  }

  return {
    async follow(joined) {
      reset();
      await joined.subscribe(metaUris.onSubscriptionCreate, (args) => add(args[1]));
      await joined.subscribe(metaUris.onSubscriptionDelete, (args) => remove(args[1]));
      const lists = (await joined.call(metaUris.subscriptionList, [], {})) as Record<string, unknown>;
      const ids = [lists?.exact, lists?.prefix].flat().filter((id) => typeof id === 'number');
      // One that is gone by now needs no entry.
      for (const id of ids) await joined.call(metaUris.subscriptionGet, [id], {}).then(add, () => undefined);
      session = joined;
    },
    reset,
    hasListeners,
    publish(topic, payload) {
      if (!session || !hasListeners(topic)) return;
      try {
        session.publish(topic, [], payload);
      } catch (error) {
        logger.warn({ err: error, topic }, 'an event could not be published');
      }
    },
  };
}
