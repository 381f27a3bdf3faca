/** Boards that are left alone for a set time, because something went wrong with them; forgotten by a restart. */
export interface BoardRests {
  add(boardUuid: string): void;
  has(boardUuid: string): boolean;
}

const maxBoards = 20_000;

/** @param now milliseconds, monotonic */
export function createBoardRests(restMs: number, now: () => number = () => performance.now()): BoardRests {
  const until = new Map<string, number>();
  return {
    add(boardUuid) {
      if (until.size >= maxBoards) until.clear();
      until.set(boardUuid, now() + restMs);
    },
    has(boardUuid) {
      const at = until.get(boardUuid);
      if (at === undefined) return false;
      if (at > now()) return true;
      until.delete(boardUuid);
      return false;
    },
  };
}
