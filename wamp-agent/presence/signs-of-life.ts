/**
 * Heartbeats and calls as evidence of life, kept in memory and written every few seconds: one
 * statement for many boards. What is written is when the sign came, rounded down to half a second:
 * a board must never seem to have lived later than it did.
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

/** When each board last gave a sign, by the process's monotonic clock. */
type Noted = Record<SignOfLife, Map<string, number>>;

const ageStepMs = 500;

export function createSignsOfLife(database: Database, logger: Logger, intervalMs = 5000): SignsOfLife {
  let noted = empty();
  let writing: Promise<void> | undefined;

  async function flush(): Promise<void> {
    const signs = noted;
    noted = empty();
    try {
      for (const sign of ['heartbeat', 'rpc', 'readings'] as const)
        for (const { ageMs, boards } of groupByAge(signs[sign], performance.now()))
          await database.read((manager) => writeSigns(manager, sign, ageMs, boards));
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
    note: (boardUuid, sign) => void noted[sign].set(boardUuid, performance.now()),
    async stop() {
      clearInterval(timer);
      await writing;
      await run();
    },
  };
}

function empty(): Noted {
  return { heartbeat: new Map(), rpc: new Map(), readings: new Map() };
}

/** Groups for one statement each, boards always in the same order: two agents never wait for each other. */
export function groupByAge(
  signs: ReadonlyMap<string, number>,
  now: number,
): { ageMs: number; boards: string[] }[] {
  const groups = new Map<number, string[]>();
  for (const board of [...signs.keys()].sort()) {
    const ageMs = Math.ceil((now - (signs.get(board) ?? now)) / ageStepMs) * ageStepMs;
    const group = groups.get(ageMs) ?? [];
    groups.set(ageMs, group);
    group.push(board);
  }
  return [...groups].flatMap(([ageMs, boards]) =>
    Array.from({ length: Math.ceil(boards.length / rowsPerStatement) }, (_, index) => ({
      ageMs,
      boards: boards.slice(index * rowsPerStatement, (index + 1) * rowsPerStatement),
    })),
  );
}

async function writeSigns(
  manager: EntityManager,
  sign: SignOfLife,
  ageMs: number,
  boards: readonly string[],
): Promise<void> {
  const at = `UTC_TIMESTAMP(3) - INTERVAL ${ageMs * 1000} MICROSECOND`;
  // Another agent, or the end of the session, may have written a later time.
  const set = columns[sign].map((column) => `${column} = GREATEST(COALESCE(${column}, ${at}), ${at})`);
  await manager.query(`UPDATE boards SET ${set.join(', ')} WHERE uuid IN (?)`, [boards]);
}
