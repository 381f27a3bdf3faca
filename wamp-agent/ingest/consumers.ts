/**
 * Who gets the readings of which tenant, looked up twice a second: most tenants have nobody, and the
 * ingest must not ask the database for that. A new consumer gets what is stored after the next look.
 */
import type { Database } from '../../common/db/database.ts';
import { findConsumers } from '../../common/db/queries/outbox.ts';
import { every } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface ConsumerMemory {
  of(tenantId: string): readonly string[];
  refresh(): Promise<void>;
  stop(): Promise<void>;
}

const lookMs = 500;
const nobody: readonly string[] = [];

export function createConsumerMemory(
  database: Pick<Database, 'read'>,
  logger: Logger,
  intervalMs = lookMs,
): ConsumerMemory {
  let byTenant = new Map<string, string[]>();

  async function refresh(): Promise<void> {
    const found = new Map<string, string[]>();
    for (const { id, tenantId } of await database.read(findConsumers)) {
      const ids = found.get(tenantId) ?? [];
      ids.push(id);
      found.set(tenantId, ids);
    }
    byTenant = found;
  }

  const task = every({ name: 'consumers', intervalMs, logger }, refresh);
  return { of: (tenantId) => byTenant.get(tenantId) ?? nobody, refresh, stop: task.stop };
}
