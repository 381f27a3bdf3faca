/** Clears rows that served their time, table by table, in small transactions. */
import { eventsKeptMs } from '../../common/db/queries/events.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Retention } from '../config.ts';
import type { TaskContext } from '../scheduler.ts';
import { fanOutCursor } from '../webhooks/fan-out.ts';
import { createBudget, deleteInChunks } from './chunks.ts';

const runMs = 30_000;

interface Expiry {
  table: string;
  /** Indexed where the table can grow large; deleted in its order. */
  column: string;
  /** Kept for so long after the time in the column. */
  keepSeconds: number;
  /** Further condition. */
  where?: string;
}

const day = 86_400;

/** Keeping used codes, ended sessions and stopped processes for a while answers questions of operators. */
export function listExpiries(rules: Retention): Expiry[] {
  return [
    {
      table: 'events',
      column: 'created_at',
      keepSeconds: eventsKeptMs / 1000,
      // Webhooks that are behind get what they wait for; a week on, nobody does.
      where: `created_at < GREATEST(UTC_TIMESTAMP(3) - INTERVAL 7 DAY, COALESCE(
        (SELECT read_until FROM event_cursors WHERE name = '${fanOutCursor}'), UTC_TIMESTAMP(3)))`,
    },
    { table: 'webhook_deliveries', column: 'created_at', keepSeconds: 14 * day },
    { table: 'idempotency_keys', column: 'expires_at', keepSeconds: 0 },
    { table: 'user_sessions', column: 'expires_at', keepSeconds: 0 },
    // Until then a late enrolment hears "expired" and not "unknown".
    { table: 'enrolment_codes', column: 'expires_at', keepSeconds: 7 * day, where: 'used_at IS NULL' },
    { table: 'enrolment_codes', column: 'expires_at', keepSeconds: 90 * day },
    { table: 'api_keys', column: 'expires_at', keepSeconds: 30 * day },
    { table: 'api_keys', column: 'revoked_at', keepSeconds: 30 * day },
    { table: 'board_sessions', column: 'ended_at', keepSeconds: 90 * day },
    { table: 'schedule_runs', column: 'at', keepSeconds: 30 * day },
    // One a second is written; what failed is of interest for longer.
    {
      table: 'task_runs',
      column: 'started_at',
      keepSeconds: day,
      where:
        "outcome = 'done' AND task IN ('operations', 'liveness', 'schedules', 'webhook-fanout', 'outbox')",
    },
    { table: 'task_runs', column: 'started_at', keepSeconds: 7 * day },
    { table: 'wamp_agents', column: 'stopped_at', keepSeconds: 30 * day },
    { table: 'conductors', column: 'stopped_at', keepSeconds: 30 * day },
    { table: 'misdated_readings', column: 'received_at', keepSeconds: rules.retentionDays * day },
    // Open ones have no such time.
    { table: 'alarms', column: 'cleared_at', keepSeconds: rules.alarmDays * day },
    { table: 'audit_events', column: 'at', keepSeconds: rules.auditDays * day },
  ];
}

export async function clearExpired(context: TaskContext, rules: Retention): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const cleared: Record<string, number> = {};
  let complete = true;
  const lost = await closeLostRuns(context);
  for (const { table, column, keepSeconds, where } of listExpiries(rules)) {
    const sql = `DELETE FROM ${table} WHERE ${column} < UTC_TIMESTAMP(3) - INTERVAL ? SECOND${where ? ` AND ${where}` : ''}
                 ORDER BY ${column} LIMIT ?`;
    const result = await deleteInChunks(context, budget, sql, [keepSeconds]);
    if (result.deleted > 0) cleared[table] = (cleared[table] ?? 0) + result.deleted;
    complete &&= result.complete;
  }
  return { cleared, lostRuns: lost, complete };
}

/**
 * Runs whose conductor died and whose slot passed before another came by. None takes ten minutes:
 * they end by themselves after one.
 */
async function closeLostRuns(context: TaskContext): Promise<number> {
  const result = await context.write((manager) =>
    manager.query(
      `UPDATE task_runs SET outcome = 'lost', ended_at = UTC_TIMESTAMP(3)
       WHERE outcome IS NULL AND started_at < UTC_TIMESTAMP(3) - INTERVAL 10 MINUTE
         AND started_at > UTC_TIMESTAMP(3) - INTERVAL 2 HOUR`,
    ),
  );
  return (result as { affectedRows: number }).affectedRows;
}
