/**
 * Ends the sessions of boards that have been silent for too long although a wamp-agent of their
 * cell was there to hear them all the time.
 */
import type { EntityManager } from 'typeorm';
import { appendEvents } from '../../common/db/queries/events.ts';
import { endSessions, presenceBatch } from '../../common/db/queries/presence.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { heartbeatLapseMs } from '../../common/wamp/heartbeat-interval.ts';
import type { Rules } from '../config.ts';
import type { TaskContext } from '../scheduler.ts';

interface HeardCell {
  cell: string;
  /** Since when an agent has been connected there without a break. */
  connectedMs: number;
  boards: number;
}

export async function endLapsedSessions(context: TaskContext, rules: Rules): Promise<JsonObject> {
  let sessions = 0;
  for (const { cell, connectedMs, boards } of await context.database.read(findHeardCells)) {
    const lapseMs = heartbeatLapseMs(boards, rules.heartbeatIntervalMs);
    if (connectedMs <= lapseMs) continue;
    for (;;) {
      const silent = await context.database.read((manager) => findSilent(manager, cell, lapseMs));
      if (silent.length === 0) break;
      const ended = await context.write(async (manager) => {
        const result = await endSessions(manager, silent, 'heartbeat-lapsed');
        await appendEvents(manager, result.events);
        return result.ended.length;
      });
      sessions += ended;
      // Another process ended them first, or their boards are gone: the next run looks again.
      if (ended === 0) break;
    }
  }
  return { sessions };
}

async function findHeardCells(manager: EntityManager): Promise<HeardCell[]> {
  const rows = (await manager.query(
    `SELECT r.cell, TIMESTAMPDIFF(MICROSECOND, r.connected_at, UTC_TIMESTAMP(3)) / 1000 AS connectedMs,
            (SELECT COUNT(*) FROM board_sessions s WHERE s.cell = r.cell AND s.live = 1) AS boards
     FROM routers r WHERE r.connected_at IS NOT NULL AND r.lost_at IS NULL`,
  )) as Record<keyof HeardCell, string | number>[];
  return rows.map((row) => ({
    cell: String(row.cell),
    connectedMs: Number(row.connectedMs),
    boards: Number(row.boards),
  }));
}

async function findSilent(
  manager: EntityManager,
  cell: string,
  lapseMs: number,
): Promise<{ id: string; boardUuid: string }[]> {
  return manager.query(
    `SELECT s.id, s.board_uuid AS boardUuid FROM board_sessions s JOIN boards b ON b.uuid = s.board_uuid
     WHERE s.cell = ? AND s.live = 1
       AND GREATEST(s.started_at, COALESCE(b.last_heartbeat_at, s.started_at)) < UTC_TIMESTAMP(3) - INTERVAL ? SECOND
     LIMIT ?`,
    [cell, lapseMs / 1000, presenceBatch],
  );
}
