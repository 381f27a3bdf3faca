/** Which tenants have something to evaluate: read with each look, by indexes, whatever else there is. */
import type { EntityManager } from 'typeorm';
import type { Severity } from '../../common/alarms/rules.ts';
import type { SeenEvents } from '../webhooks/seen-events.ts';
import { sweepEveryMs } from './sweep.ts';

/** Rules changed, or a minute has passed; the first ones first. */
export async function findTenantsToSweep(manager: EntityManager): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT tenant_id AS id FROM alarm_rule_sets WHERE swept_version <> version
     OR (stream_rules + board_rules > 0 AND swept_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND)
     ORDER BY swept_version = version, swept_at`,
    [sweepEveryMs / 1000],
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}

export async function findDueTenants(manager: EntityManager): Promise<string[]> {
  const rows = (await manager.query(
    'SELECT DISTINCT tenant_id AS id FROM alarm_states WHERE due_at <= UTC_TIMESTAMP(3)',
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}

/** Rows of `events` show up to so long after their time. */
const eventWindowMs = 5000;
const eventsAtOnce = 5000;

/**
 * Boards that went online or offline in the last seconds, by tenant. They are hints: the rows of the
 * boards say how they stand, and a hint that is missed is made up for by the next sweep.
 */
export async function findMovedBoards(
  manager: EntityManager,
  seen: SeenEvents,
): Promise<Map<string, string[]>> {
  const [rules] = (await manager.query(
    'SELECT 1 FROM alarm_rule_sets WHERE board_rules > 0 LIMIT 1',
  )) as object[];
  if (!rules) return new Map();
  const rows = (await manager.query(
    `SELECT e.id, e.created_at AS at, e.tenant_id AS tenantId, e.board_uuid AS boardUuid
     FROM events e JOIN alarm_rule_sets r ON r.tenant_id = e.tenant_id AND r.board_rules > 0
     WHERE e.created_at > UTC_TIMESTAMP(3) - INTERVAL ? SECOND AND e.type = 'presence' AND e.board_uuid IS NOT NULL
     ORDER BY e.created_at LIMIT ?`,
    [eventWindowMs / 1000, eventsAtOnce],
  )) as { id: number | string; at: Date; tenantId: string; boardUuid: string }[];
  const fresh = rows.filter(({ id }) => !seen.has(Number(id)));
  for (const { id, at } of fresh) seen.add({ id: Number(id), at: at.getTime() });
  const newest = rows.at(-1);
  if (newest) seen.forgetBefore(newest.at.getTime() - 2 * eventWindowMs);
  const byTenant = Map.groupBy(fresh, ({ tenantId }) => tenantId);
  return new Map([...byTenant].map(([id, of]) => [id, [...new Set(of.map(({ boardUuid }) => boardUuid))]]));
}

/** By severity. */
export async function countOpenAlarms(manager: EntityManager): Promise<Map<Severity, number>> {
  const rows = (await manager.query(
    'SELECT severity, COUNT(*) AS count FROM alarms WHERE open = 1 GROUP BY severity',
  )) as { severity: Severity; count: number | string }[];
  return new Map(rows.map(({ severity, count }) => [severity, Number(count)]));
}
