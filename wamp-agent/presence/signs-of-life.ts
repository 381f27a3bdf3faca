/**
 * Heartbeats and calls as evidence of life, kept in memory and written every few seconds: one
 * statement for many boards. A time is therefore right to within the interval.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export type SignOfLife = 'heartbeat' | 'rpc' | 'readings';

export interface SignsOfLife {
  note(boardUuid: string, sign: SignOfLife): void;
  stop(): Promise<void>;
}

const rowsPerStatement = 500;
const columns: Record<SignOfLife, readonly string[]> = {
  heartbeat: ['last_heartbeat_at', 'last_seen_at'],
  rpc: ['last_rpc_at', 'last_seen_at'],
  readings: ['last_seen_at'],
};

export function createSignsOfLife(database: Database, logger: Logger, intervalMs = 5000): SignsOfLife {
  let noted: Record<SignOfLife, Set<string>> = empty();
  let writing: Promise<void> | undefined;

  async function flush(): Promise<void> {
    const signs = noted;
    noted = empty();
    try {
      for (const sign of ['heartbeat', 'rpc', 'readings'] as const) {
        // Always in the same order, so that two agents never wait for each other.
        const boards = [...signs[sign]].sort();
        for (let index = 0; index < boards.length; index += rowsPerStatement)
          await database.read((manager) =>
            writeSigns(manager, sign, boards.slice(index, index + rowsPerStatement)),
          );
      }
    } catch (error) {
      // The next heartbeat says the same again.
      logger.warn({ err: error }, 'signs of life could not be written');
    }
  }

  const run = (): Promise<void> => {
    writing ??= flush().finally(() => {
      writing = undefined;
    });
    return writing;
  };
  const timer = setInterval(() => void run(), intervalMs);
  timer.unref();

  return {
    note: (boardUuid, sign) => void noted[sign].add(boardUuid),
    async stop() {
      clearInterval(timer);
      await writing;
      await run();
    },
  };
}

function empty(): Record<SignOfLife, Set<string>> {
  return { heartbeat: new Set(), rpc: new Set(), readings: new Set() };
}

async function writeSigns(
  manager: EntityManager,
  sign: SignOfLife,
  boards: readonly string[],
): Promise<void> {
  const set = columns[sign].map((column) => `${column} = UTC_TIMESTAMP(3)`).join(', ');
  await manager.query(`UPDATE boards SET ${set} WHERE uuid IN (?)`, [boards]);
}
