/** The service itself: alive, ready, figures, contract. They tell nothing of any tenant. */
import type { EntityManager } from 'typeorm';
import { findLiveAgents } from '../../common/db/queries/wamp-agents.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf } from '../http/operation.ts';
import { loadOpenapiDocument } from '../openapi-document.ts';

type ServiceOperations = 'getOpenapi' | 'getHealth' | 'getReadiness' | 'getMetrics';

/** A probe that waits longer than its prober is worse than a bad answer. */
const readinessDeadlineMs = 2000;

export function createServiceHandlers(deps: ApiDeps): HandlersOf<ServiceOperations> {
  const document = loadOpenapiDocument();
  return {
    getOpenapi: async () => ({ status: 200, body: document }),
    getHealth: async () => ({ status: 200, body: { status: 'ok', uptimeSeconds: process.uptime() } }),
    async getReadiness() {
      const relay = await countRelays(deps);
      if (relay === undefined)
        return {
          status: 503,
          body: { status: 'not-ready', checks: { database: 'failed', relay: 'unknown' } },
        };
      return {
        status: 200,
        body: { status: 'ready', checks: { database: 'ok', relay: relay > 0 ? 'ok' : 'none' } },
      };
    },
    getMetrics: async () => ({
      status: 200,
      headers: { 'content-type': deps.metrics.registry.contentType },
      body: await deps.metrics.registry.metrics(),
    }),
  };
}

/** Live wamp-agents; undefined when the database does not answer. */
async function countRelays(deps: ApiDeps): Promise<number | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), readinessDeadlineMs);
  try {
    const agents = deps.database.read((manager: EntityManager) => findLiveAgents(manager), { deadlineMs: 0 });
    return await Promise.race([agents.then((list) => list.length), late]);
  } catch (error) {
    deps.logger.warn({ err: error }, 'not ready: the database does not answer');
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
