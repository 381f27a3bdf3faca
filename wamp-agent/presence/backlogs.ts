/** How many readings boards still hold, as they say with their heartbeats: written when it changed. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { every } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface Backlogs {
  note(boardUuid: string, waiting: number): void;
  stop(): Promise<void>;
}

const rowsPerStatement = 500;
/** Boards that go away are forgotten with the whole memory: the next word is written again. */
const maxWritten = 100_000;

export function createBacklogs(
  database: Pick<Database, 'read'>,
  logger: Logger,
  intervalMs = 5000,
): Backlogs {
  let noted = new Map<string, number>();
  let written = new Map<string, number>();

  async function flush(): Promise<void> {
    const changed = [...noted].filter(([board, waiting]) => written.get(board) !== waiting);
    noted = new Map();
    // In one order everywhere: two agents never wait for each other.
    changed.sort(([left], [right]) => (left < right ? -1 : 1));
    for (let from = 0; from < changed.length; from += rowsPerStatement) {
      const rows = changed.slice(from, from + rowsPerStatement);
      await database.read((manager) => writeBacklogs(manager, rows));
      for (const [board, waiting] of rows) written.set(board, waiting);
    }
    if (written.size > maxWritten) written = new Map();
  }

  const task = every({ name: 'backlogs', intervalMs, logger }, flush);
  return {
    note: (boardUuid, waiting) => void noted.set(boardUuid, waiting),
    async stop() {
      await task.stop();
      await flush().catch((error: unknown) =>
        logger.warn({ err: error }, 'what boards hold could not be written'),
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
