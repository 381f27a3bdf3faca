/** Readings of tenants per day (of UTC), and what they may have. */
import type { EntityManager } from 'typeorm';
import { parseQuotaLimits } from '../../common/db/quota-limits.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';

export interface Usage {
  tenantId: string;
  /** Days since 1970. */
  day: number;
  readings: number;
}

/** Adds to what is there. */
export async function addUsage(manager: EntityManager, usage: readonly Usage[]): Promise<void> {
  if (usage.length === 0) return;
  // In one order everywhere: two agents never wait for each other.
  const sorted = [...usage].sort((left, right) => (left.tenantId < right.tenantId ? -1 : 1));
  await manager.query(
    `INSERT INTO tenant_usage (tenant_id, day, readings) VALUES ?
     ON DUPLICATE KEY UPDATE readings = readings + VALUES(readings)`,
    [sorted.map((each) => [each.tenantId, each.day, each.readings])],
  );
}

export interface TenantReadings {
  tenantId: string;
  /** Stored on the day, by all agents. */
  readings: number;
  /** The tenant's own limit; undefined = the installation's. */
  limit: number | undefined;
}

const tenantsPerStatement = 1000;

export async function findReadings(
  manager: EntityManager,
  tenantIds: readonly string[],
  day: number,
): Promise<TenantReadings[]> {
  const found: TenantReadings[] = [];
  for (let from = 0; from < tenantIds.length; from += tenantsPerStatement) {
    const rows = (await manager.query(
      `SELECT t.id AS tenantId, t.quotas, u.readings FROM tenants t
       LEFT JOIN tenant_usage u ON u.tenant_id = t.id AND u.day = ? WHERE t.id IN (?)`,
      [day, tenantIds.slice(from, from + tenantsPerStatement)],
    )) as { tenantId: string; quotas: string | JsonObject | null; readings: number | string | null }[];
    for (const { tenantId, quotas, readings } of rows)
      found.push({
        tenantId,
        readings: Number(readings ?? 0),
        limit: parseQuotaLimits(quotas).readingsPerDay,
      });
  }
  return found;
}
