/**
 * Marks wamp-agents and conductors whose heartbeat lapsed, keeps the state of each cell, and ends
 * the sessions of cells that no wamp-agent has reached for a while.
 *
 * Silence counts only while somebody listened: after an outage of the database, or of all
 * conductors, everybody's heartbeat looks old. So each run notes since when runs have followed one
 * another, and nothing is judged by a silence that began before.
 */
import type { EntityManager } from 'typeorm';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import { conductorLapseMs } from '../../common/db/queries/conductors.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { endSessions, findLiveSessions, presenceBatch } from '../../common/db/queries/presence.ts';
import { agentLapseMs } from '../../common/db/queries/wamp-agents.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';

/** A wamp-agent that restarts is back by then, and the boards' sessions at the router have lived on. */
const unreachableMs = 10_000;
/** Runs further apart than this leave a time in which nobody listened. */
const watchGapMs = 6000;

interface Cell {
  cell: string;
  connected: boolean;
  connectedAt: Date | null;
  lostAt: Date | null;
  /** The last heartbeat of any of its agents. */
  lastSignAt: Date | null;
}

export async function checkLiveness(context: TaskContext): Promise<JsonObject> {
  const { database } = context;
  const now = await database.read(getDatabaseTime);
  const watchingSince = await database.read((manager) => findWatchStart(manager, now));
  const watchedMs = now - watchingSince;
  const detail = { watchingSince, agents: 0, conductors: 0, sessions: 0 };
  if (watchedMs >= agentLapseMs) {
    detail.agents = await markLapsed(context, 'wamp_agents', agentLapseMs);
    detail.conductors = await markLapsed(context, 'conductors', conductorLapseMs);
  }
  for (const cell of await keepCells(context, now, watchingSince)) {
    const lostMs = cell.lostAt === null ? 0 : now - cell.lostAt.getTime();
    if (lostMs > unreachableMs && watchedMs > unreachableMs)
      detail.sessions += await endSessionsOf(context, cell.cell);
  }
  return detail;
}

/** Since when somebody has listened without a gap, epoch milliseconds of the database's clock. */
export async function findWatchStart(manager: EntityManager, now: number): Promise<number> {
  const [run] = (await manager.query(
    `SELECT ended_at AS endedAt, JSON_VALUE(detail, '$.watchingSince') AS watchingSince FROM task_runs
     WHERE task = 'liveness' AND outcome = 'done' AND ended_at <= ? ORDER BY slot_at DESC LIMIT 1`,
    // Later ones are from a clock that was ahead.
    [new Date(now)],
  )) as { endedAt: Date; watchingSince: string | null }[];
  if (!run || now - run.endedAt.getTime() > watchGapMs) return now;
  return Number(run.watchingSince ?? now);
}

async function markLapsed(
  context: TaskContext,
  table: 'wamp_agents' | 'conductors',
  lapseMs: number,
): Promise<number> {
  const lapsed = `stopped_at IS NULL AND heartbeat_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND`;
  const found = (await context.database.read((manager) =>
    manager.query(`SELECT id FROM ${table} WHERE ${lapsed}`, [lapseMs / 1000]),
  )) as { id: string }[];
  if (found.length === 0) return 0;
  context.logger.warn({ table, ids: found.map(({ id }) => id) }, 'heartbeats lapsed');
  const result = await context.write((manager) =>
    manager.query(
      `UPDATE ${table} SET stopped_at = UTC_TIMESTAMP(3), stop_reason = 'heartbeat-lapsed'
       WHERE id IN (?) AND ${lapsed}`,
      [found.map(({ id }) => id), lapseMs / 1000],
    ),
  );
  return (result as { affectedRows: number }).affectedRows;
}

/** Brings the rows of `routers` up to date, and answers with all of them. */
async function keepCells(context: TaskContext, now: number, watchingSince: number): Promise<Cell[]> {
  const before = await context.database.read(readCells);
  const changed = before.filter(
    (each) => (each.connected && each.connectedAt === null) || each.connected === (each.lostAt !== null),
  );
  if (changed.length === 0) return before;
  await context.write(async (manager) => {
    await manager.query(
      `INSERT IGNORE INTO routers (cell, created_at) SELECT DISTINCT cell, UTC_TIMESTAMP(3) FROM wamp_agents`,
    );
    for (const { cell, connected, lastSignAt } of changed) {
      // A dead agent is noticed late, so the loss counts from its last sign; the others say it at once.
      const lostSince = new Date(Math.max(watchingSince, lastSignAt?.getTime() ?? now));
      await manager.query(
        connected
          ? 'UPDATE routers SET connected_at = UTC_TIMESTAMP(3), lost_at = NULL WHERE cell = ?'
          : 'UPDATE routers SET lost_at = ? WHERE cell = ? AND lost_at IS NULL',
        connected ? [cell] : [lostSince, cell],
      );
    }
  });
  return context.database.read(readCells);
}

async function readCells(manager: EntityManager): Promise<Cell[]> {
  const rows = (await manager.query(
    `SELECT c.cell, MAX(r.connected_at) AS connectedAt, MAX(r.lost_at) AS lostAt,
            MAX(a.heartbeat_at) AS lastSignAt,
            COALESCE(MAX(a.stopped_at IS NULL AND a.router_connected = 1
                         AND a.heartbeat_at > UTC_TIMESTAMP(3) - INTERVAL ? SECOND), 0) AS connected
     FROM (SELECT cell FROM routers UNION SELECT cell FROM wamp_agents) c
     LEFT JOIN routers r ON r.cell = c.cell
     LEFT JOIN wamp_agents a ON a.cell = c.cell
     GROUP BY c.cell`,
    [agentLapseMs / 1000],
  )) as (Omit<Cell, 'connected'> & { connected: number | string })[];
  return rows.map((row) => ({ ...row, connected: Number(row.connected) === 1 }));
}

async function endSessionsOf(context: TaskContext, cell: string): Promise<number> {
  const sessions = await context.database.read((manager) => findLiveSessions(manager, cell));
  let ended = 0;
  for (let start = 0; start < sessions.length; start += presenceBatch) {
    const batch = sessions.slice(start, start + presenceBatch);
    ended += await context.write(async (manager) => {
      const result = await endSessions(manager, batch, 'router-unreachable');
      await appendEvents(manager, result.events);
      return result.ended.length;
    });
  }
  if (ended > 0) context.logger.warn({ cell, sessions: ended }, 'no wamp-agent reaches the router');
  return ended;
}
