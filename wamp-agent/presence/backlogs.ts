/**
 * How many readings boards still hold, as they say with their heartbeats. Written every few seconds, for
 * many boards at once, also what has not changed: another agent may have heard something else meanwhile.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { messageOf } from '../../common/runtime/app-error.ts';
import { every } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface Backlogs {
  note(boardUuid: string, waiting: number): void;
  stop(): Promise<void>;
}

const rowsPerStatement = 500;

export function createBacklogs(
  database: Pick<Database, 'read'>,
  logger: Logger,
  intervalMs = 5000,
): Backlogs {
  let noted = new Map<string, number>();

  async function flush(): Promise<void> {
    // In one order everywhere: two agents never wait for each other.
    const rows = [...noted].sort(([left], [right]) => (left < right ? -1 : 1));
    // What cannot be written is said again with the next heartbeat.
    noted = new Map();
    for (let from = 0; from < rows.length; from += rowsPerStatement)
      await database.read((manager) => writeBacklogs(manager, rows.slice(from, from + rowsPerStatement)));
  }

  const task = every({ name: 'backlogs', intervalMs, logger }, flush);
  return {
    note: (boardUuid, waiting) => void noted.set(boardUuid, waiting),
    async stop() {
      await task.stop();
      await flush().catch((error: unknown) =>
        logger.warn({ reason: messageOf(error) }, 'what boards hold could not be written'),
      );
    },
  };
}

async function writeBacklogs(
  manager: EntityManager,
  rows: readonly (readonly [board: string, waiting: number])[],
): Promise<void> {
  // A board that was deleted meanwhile has no row to hang it on.
  await manager.query(
    `INSERT INTO board_backlogs (board_uuid, waiting, reported_at)
     SELECT uuid, CASE uuid ${rows.map(() => 'WHEN ? THEN ?').join(' ')} END, UTC_TIMESTAMP(3)
     FROM boards WHERE uuid IN (?)
     ON DUPLICATE KEY UPDATE waiting = VALUES(waiting), reported_at = VALUES(reported_at)`,
    [...rows.flat(), rows.map(([board]) => board)],
  );
}
