/**
 * What a tenant may use and what it uses. Rows are counted where an index counts them; what passes
 * (readings, and operations where they are limited) is added up per day of UTC in `tenant_usage`.
 */
import type { EntityManager } from 'typeorm';
import { AppError } from '../../runtime/app-error.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import { parseQuotaLimits, type QuotaLimits, type QuotaName } from '../quota-limits.ts';

/** Days since 1970, as in `tenant_usage.day`. */
const today = "DATEDIFF(UTC_DATE(), '1970-01-01')";

/** Open operations are counted up to here, when no limit asks for more. */
const countedOpenOperations = 10_000;

export type Quotas = Record<QuotaName, { limit: number | null; used: number }>;

/** The tenant's own limits over those of the installation. */
export async function readQuotaLimits(
  manager: EntityManager,
  tenantId: string,
  defaults: QuotaLimits,
): Promise<QuotaLimits> {
  const [row] = (await manager.query('SELECT quotas FROM tenants WHERE id = ?', [tenantId])) as {
    quotas: string | JsonObject | null;
  }[];
  return { ...defaults, ...parseQuotaLimits(row?.quotas ?? null) };
}

export async function readQuotas(
  manager: EntityManager,
  tenantId: string,
  defaults: QuotaLimits,
): Promise<Quotas> {
  const limits = await readQuotaLimits(manager, tenantId, defaults);
  const [usage] = (await manager.query(
    `SELECT operations, readings FROM tenant_usage WHERE tenant_id = ? AND day = ${today}`,
    [tenantId],
  )) as { operations: number | string; readings: number | string }[];
  const quota = (name: QuotaName, used: number) => ({ limit: limits[name] ?? null, used });
  const openLimit = Math.max(countedOpenOperations, (limits.openOperations ?? 0) + 1);
  return {
    boards: quota('boards', await countRows(manager, 'boards', tenantId)),
    schedules: quota('schedules', await countRows(manager, 'schedules', tenantId)),
    openOperations: quota('openOperations', await countOpenOperations(manager, tenantId, openLimit)),
    operationsPerDay: quota(
      'operationsPerDay',
      limits.operationsPerDay === undefined
        ? await countOperationsToday(manager, tenantId)
        : Number(usage?.operations ?? 0),
    ),
    readingsPerDay: quota('readingsPerDay', Number(usage?.readings ?? 0)),
  };
}

export async function writeQuotaLimits(
  manager: EntityManager,
  tenantId: string,
  limits: QuotaLimits,
): Promise<void> {
  const text = Object.keys(limits).length === 0 ? null : JSON.stringify(limits);
  await manager.query('UPDATE tenants SET quotas = ? WHERE id = ?', [text, tenantId]);
}

async function countRows(
  manager: EntityManager,
  table: 'boards' | 'schedules',
  tenantId: string,
): Promise<number> {
  const [row] = (await manager.query(`SELECT COUNT(*) AS used FROM ${table} WHERE tenant_id = ?`, [
    tenantId,
  ])) as { used: number | string }[];
  return Number(row?.used ?? 0);
}

/** Where no limit asks for a counter. */
async function countOperationsToday(manager: EntityManager, tenantId: string): Promise<number> {
  const [row] = (await manager.query(
    'SELECT COUNT(*) AS used FROM operations WHERE tenant_id = ? AND created_at >= UTC_DATE()',
    [tenantId],
  )) as { used: number | string }[];
  return Number(row?.used ?? 0);
}

/** At most `limit`. */
async function countOpenOperations(manager: EntityManager, tenantId: string, limit: number): Promise<number> {
  const [row] = (await manager.query(
    `SELECT COUNT(*) AS used FROM (
       SELECT 1 FROM operations WHERE tenant_id = ? AND state IN ('preparing', 'active') LIMIT ?) found`,
    [tenantId, limit],
  )) as { used: number | string }[];
  return Number(row?.used ?? 0);
}

/**
 * Throws AppError `quota-exceeded` when the tenant has as many as it may have. To be called as the
 * first statement of the transaction that adds one, with a limit that was read before it: the
 * tenant's row is locked, so that two at once do not both get the last place, and a plain read
 * before it would fix what is counted to the time before the lock.
 */
export async function requirePlace(
  manager: EntityManager,
  tenantId: string,
  table: 'boards' | 'schedules',
  limit: number | undefined,
): Promise<void> {
  if (limit === undefined) return;
  await manager.query('SELECT id FROM tenants WHERE id = ? FOR UPDATE', [tenantId]);
  const used = await countRows(manager, table, tenantId);
  if (used >= limit) throw exceeded(table, limit, used);
}

/**
 * Throws AppError `too-many-requests` when the tenant has made as many operations as it may on a day,
 * and `quota-exceeded` when too many have not ended yet; the transaction is to be rolled back then.
 * Call it as the transaction's first statement, with limits that were read before it: the row that it
 * locks keeps others of the tenant waiting, so that the limits hold exactly. Without a limit nothing is
 * counted and nobody waits.
 */
export async function takeOperationPlace(
  manager: EntityManager,
  tenantId: string,
  limits: QuotaLimits,
): Promise<void> {
  const { operationsPerDay: perDay, openOperations: open } = limits;
  if (perDay !== undefined) {
    const result = (await manager.query(
      `INSERT INTO tenant_usage (tenant_id, day, operations) VALUES (?, ${today}, 1)
       ON DUPLICATE KEY UPDATE operations = LAST_INSERT_ID(operations + 1)`,
      [tenantId],
    )) as { insertId: number };
    // No id: the row is new.
    const made = result.insertId || 1;
    if (made > perDay) throw tooManyToday('operationsPerDay', perDay, made - 1);
  }
  if (open === undefined) return;
  if (perDay === undefined) await manager.query('SELECT id FROM tenants WHERE id = ? FOR UPDATE', [tenantId]);
  const used = await countOpenOperations(manager, tenantId, open + 1);
  if (used >= open) throw exceeded('openOperations', open, used);
}

function exceeded(quota: QuotaName, limit: number, used: number): AppError {
  return new AppError('quota-exceeded', `the tenant may have ${limit} ${words[quota]} and has ${used}`, {
    details: { quota, limit, used },
  });
}

/** For what is limited per day of UTC. */
export function tooManyToday(quota: QuotaName, limit: number, used: number): AppError {
  const dayMs = 86_400_000;
  const retryAfterSeconds = Math.ceil((dayMs - (Date.now() % dayMs)) / 1000);
  return new AppError(
    'too-many-requests',
    `the tenant may have ${limit} ${words[quota]} and has had ${used}`,
    {
      details: { quota, limit, used, retryAfterSeconds },
    },
  );
}

const words: Readonly<Record<QuotaName, string>> = {
  boards: 'boards',
  schedules: 'schedules',
  openOperations: 'operations that have not ended',
  operationsPerDay: 'operations a day',
  readingsPerDay: 'readings a day',
};
