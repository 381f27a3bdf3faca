/**
 * Readings that a tenant may have stored per day of UTC. Each agent counts what it stores and adds it
 * up in the database every few seconds, where it also sees what the others have stored: a limit is
 * passed by what arrives within such a time, no more. Over the limit a batch is refused before
 * anything of it is stored; its board keeps it and comes again.
 */
import type { Database } from '../../common/db/database.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { every } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { addUsage, findReadings, type Usage } from './usage-queries.ts';

export interface ReadingsQuota {
  /** Throws AppError `too-many-requests` when the tenant has had its share of today. */
  check(tenantId: string): Promise<void>;
  /** So many were stored. */
  count(tenantId: string, readings: number): void;
  stop(): Promise<void>;
}

export interface ReadingsQuotaOptions {
  database: Pick<Database, 'read' | 'transaction'>;
  /** Of the installation. */
  defaults: QuotaLimits;
  logger: Logger;
  intervalMs?: number;
  /** Epoch milliseconds. */
  now?: () => number;
}

const dayMs = 86_400_000;
const defaultIntervalMs = 3000;
const maxRetryAfterMs = 60_000;
/** A tenant whose boards are silent for so long is looked up again when they come back. */
const rememberMs = 60_000;

interface Known {
  day: number;
  /** By all agents, at the last look; without what is not added yet. */
  stored: number;
  limit: number | undefined;
  askedAt: number;
}

export function createReadingsQuota(options: ReadingsQuotaOptions): ReadingsQuota {
  const { database, defaults, logger, now = Date.now } = options;
  const known = new Map<string, Known>();
  const loading = new Map<string, Promise<void>>();
  /** Not added yet, by day and tenant. */
  let counted = new Map<string, Usage>();
  const today = () => Math.floor(now() / dayMs);
  const keyOf = (tenantId: string, day: number) => `${day} ${tenantId}`;

  async function look(tenantIds: readonly string[], askedAt?: number): Promise<void> {
    const day = today();
    for (const row of await database.read((manager) => findReadings(manager, tenantIds, day)))
      known.set(row.tenantId, {
        day,
        stored: row.readings,
        limit: row.limit ?? defaults.readingsPerDay,
        askedAt: askedAt ?? known.get(row.tenantId)?.askedAt ?? now(),
      });
  }

  /** Many batches of one tenant may come at once; they share one look. */
  function load(tenantId: string): Promise<void> {
    const under = loading.get(tenantId) ?? look([tenantId], now()).finally(() => loading.delete(tenantId));
    loading.set(tenantId, under);
    return under;
  }

  async function addUp(): Promise<void> {
    const usage = [...counted.values()];
    counted = new Map();
    try {
      await database.transaction((manager) => addUsage(manager, usage));
    } catch (error) {
      for (const { tenantId, day, readings } of usage) add(tenantId, day, readings);
      throw error;
    }
  }

  function add(tenantId: string, day: number, readings: number): void {
    const key = keyOf(tenantId, day);
    counted.set(key, { tenantId, day, readings: readings + (counted.get(key)?.readings ?? 0) });
  }

  async function refresh(): Promise<void> {
    if (counted.size > 0) await addUp();
    for (const [tenantId, { askedAt }] of known) if (now() - askedAt > rememberMs) known.delete(tenantId);
    if (known.size > 0) await look([...known.keys()]);
  }

  const task = every(
    { name: 'readings-quota', intervalMs: options.intervalMs ?? defaultIntervalMs, logger },
    refresh,
  );

  return {
    async check(tenantId) {
      const day = today();
      let tenant = known.get(tenantId);
      if (tenant?.day !== day) {
        await load(tenantId);
        tenant = known.get(tenantId);
      }
      // A tenant that is gone: its board is refused elsewhere.
      if (!tenant) return;
      tenant.askedAt = now();
      const used = tenant.stored + (counted.get(keyOf(tenantId, day))?.readings ?? 0);
      if (tenant.limit === undefined || used < tenant.limit) return;
      const retryAfterMs = Math.min(maxRetryAfterMs, dayMs - (now() % dayMs));
      throw new AppError('too-many-requests', `the tenant may store ${tenant.limit} readings a day`, {
        details: { quota: 'readingsPerDay', limit: tenant.limit, retryAfterMs },
      });
    },
    count(tenantId, readings) {
      if (readings > 0) add(tenantId, today(), readings);
    },
    async stop() {
      await task.stop();
      if (counted.size === 0) return;
      await addUp().catch((error: unknown) =>
        logger.warn({ reason: messageOf(error) }, 'what was stored last is not counted for its tenants'),
      );
    },
  };
}
