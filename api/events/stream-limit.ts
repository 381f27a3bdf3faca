/** Streams are held open for hours, so each caller may have only a few in one process. */
import { AppError } from '../../common/runtime/app-error.ts';

export interface StreamLimit {
  /** Takes a place; give it back by calling the answer. Throws `too-many-requests`. */
  enter(caller: string): () => void;
}

export function createStreamLimit(max: number): StreamLimit {
  const open = new Map<string, number>();
  return {
    enter(caller) {
      const count = open.get(caller) ?? 0;
      if (count >= max) {
        throw new AppError('too-many-requests', `there are ${max} open streams of yours already`, {
          details: { retryAfterSeconds: 10 },
        });
      }
      open.set(caller, count + 1);
      let left = false;
      return () => {
        if (left) return;
        left = true;
        const now = (open.get(caller) ?? 1) - 1;
        if (now === 0) open.delete(caller);
        else open.set(caller, now);
      };
    },
  };
}
