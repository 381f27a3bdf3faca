/**
 * Places for devices that a board has found. Strangers have few, so that whoever invents ids leaves room
 * for real devices: a stranger that has been quiet gives way to a newcomer, and what finds no place is
 * refused. Both clocks must say so: the board's, which dates what is heard, and the server's, so that a
 * board cannot make rows come and go as it likes.
 */
import type { EntityManager } from 'typeorm';
import { type DeviceCounts, isStranger } from '../../common/db/queries/modules.ts';
import { type ModuleReport, moduleLimits, strangerQuietMs } from '../../common/wamp/modules.ts';
import type { FoundModule } from './report-queries.ts';

export interface QuietStranger {
  name: string;
  lastSeenAt: Date;
}

export interface Placed {
  found: FoundModule[];
  /** Strangers that give way to them. */
  forgotten: string[];
  withoutRoom: ModuleReport[];
}

/** @param quiet strangers that may give way, the longest unheard first */
export function placeAll(
  decided: readonly FoundModule[],
  counts: DeviceCounts,
  quiet: readonly QuietStranger[],
): Placed {
  let { devices, strangers } = counts;
  const waiting = [...quiet];
  const placed: Placed = { found: [], forgotten: [], withoutRoom: [] };
  for (const each of decided) {
    const isHeld = each.decided === 'quarantined';
    if (devices >= moduleLimits.perBoard || (isHeld && strangers >= moduleLimits.strangers)) {
      const [oldest] = waiting;
      if (!oldest || oldest.lastSeenAt.getTime() > each.lastSeenAt - strangerQuietMs) {
        placed.withoutRoom.push(each);
        continue;
      }
      waiting.shift();
      placed.forgotten.push(oldest.name);
      devices -= 1;
      strangers -= 1;
    }
    placed.found.push(each);
    devices += 1;
    if (isHeld) strangers += 1;
  }
  return placed;
}

export async function findQuietStrangers(
  manager: EntityManager,
  boardUuid: string,
  limit: number,
): Promise<QuietStranger[]> {
  return manager.query(
    `SELECT name, last_seen_at AS lastSeenAt FROM modules
     WHERE board_uuid = ? AND ${isStranger} AND last_seen_at IS NOT NULL
       AND created_at <= UTC_TIMESTAMP(3) - INTERVAL ? SECOND
     ORDER BY last_seen_at LIMIT ?`,
    [boardUuid, strangerQuietMs / 1000, limit],
  );
}

export async function forgetStrangers(
  manager: EntityManager,
  boardUuid: string,
  names: readonly string[],
): Promise<void> {
  if (names.length === 0) return;
  await manager.query('DELETE FROM modules WHERE board_uuid = ? AND name IN (?)', [boardUuid, names]);
}
