/** How many calls are under way on each board: a slow board must not gather an endless queue. */
import { AppError } from '../../common/runtime/app-error.ts';

export interface CallSlots {
  /** Takes a place; call the result to give it back. Throws `too-many-calls`. */
  take(boardUuid: string): () => void;
  total(): number;
}

export function createCallSlots(limit: number): CallSlots {
  const taken = new Map<string, number>();
  let total = 0;
  return {
    take(boardUuid) {
      const count = taken.get(boardUuid) ?? 0;
      if (count >= limit)
        throw new AppError('too-many-calls', `${limit} calls are under way on this board`, {
          details: { retryAfterSeconds: 1 },
        });
      taken.set(boardUuid, count + 1);
      total += 1;
      let given = false;
      return () => {
        if (given) return;
        given = true;
        total -= 1;
        const left = (taken.get(boardUuid) ?? 1) - 1;
        if (left === 0) taken.delete(boardUuid);
        else taken.set(boardUuid, left);
      };
    },
    total: () => total,
  };
}
