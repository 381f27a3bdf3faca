/**
 * Ends the sessions of boards that have been silent for too long although a wamp-agent of their
 * cell was there to hear them all the time, and the database to write it down. Each board is judged
 * by the interval that it was told.
 */
import type { EntityManager } from 'typeorm';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { endSessions, presenceBatch } from '../../common/db/queries/presence.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';
import { findWatchStart } from './liveness.ts';

/** Heartbeats may be lost or late, and are written to the database in batches. */
const missedHeartbeats = 3;
const graceMs = 10_000;

export async function endLapsedSessions(context: TaskContext): Promise<JsonObject> {
  const { database } = context;
  const now = await database.read(getDatabaseTime);
  const watchedMs = now - (await database.read((manager) => findWatchStart(manager, now)));
  let sessions = 0;
  for (;;) {
    const silent = await database.read((manager) => findSilent(manager, watchedMs));
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
  return { sessions };
}

async function findSilent(
  manager: EntityManager,
  watchedMs: number,
): Promise<{ id: string; boardUuid: string }[]> {
  const lapse = 'INTERVAL (s.heartbeat_interval_ms * ? + ?) * 1000 MICROSECOND';
  return manager.query(
    `SELECT s.id, s.board_uuid AS boardUuid
     FROM routers r
     JOIN board_sessions s ON s.cell = r.cell AND s.live = 1
     JOIN boards b ON b.uuid = s.board_uuid
     WHERE s.heartbeat_interval_ms * ? + ? < ?
       AND r.lost_at IS NULL AND r.connected_at < UTC_TIMESTAMP(3) - ${lapse}
       AND GREATEST(s.started_at, COALESCE(b.last_heartbeat_at, s.started_at)) < UTC_TIMESTAMP(3) - ${lapse}
     LIMIT ?`,
    [
      missedHeartbeats,
      graceMs,
      watchedMs,
      missedHeartbeats,
      graceMs,
      missedHeartbeats,
      graceMs,
      presenceBatch,
    ],
  );
}
