/** How long boards rest after failures on the way to them: grows with each, random, and forgotten by a restart. */
import { backoffDelayMs } from '../../common/runtime/backoff.ts';

export interface BoardBackoff {
  /** One more failure: the rest in milliseconds. */
  next(boardUuid: string): number;
  reset(boardUuid: string): void;
}

const shortestMs = 200;
const range = { baseMs: 500, capMs: 60_000 };
const maxBoards = 20_000;

export function createBoardBackoff(random: () => number = Math.random): BoardBackoff {
  const failures = new Map<string, number>();
  return {
    next(boardUuid) {
      const count = failures.get(boardUuid) ?? 0;
      if (failures.size >= maxBoards) failures.clear();
      failures.set(boardUuid, count + 1);
      return shortestMs + backoffDelayMs(count, { ...range, random });
    },
    reset: (boardUuid) => void failures.delete(boardUuid),
  };
}
