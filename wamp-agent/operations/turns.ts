/** Few at once, some waiting, and the rest told to come back: for work that is heavy. */
import { AppError } from '../../common/runtime/app-error.ts';

export type Turns = <T>(work: () => Promise<T>) => Promise<T>;

export function createTurns(limits: { atOnce: number; waiting: number }): Turns {
  const waiting: (() => void)[] = [];
  let running = 0;

  async function enter(): Promise<void> {
    if (running < limits.atOnce) {
      running += 1;
      return;
    }
    if (waiting.length >= limits.waiting)
      throw new AppError('unavailable', 'too much is under way', { details: { retryAfterMs: 1000 } });
    // Whoever leaves hands its place over.
    await new Promise<void>((resolve) => waiting.push(resolve));
  }

  function leave(): void {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }

  return async (work) => {
    await enter();
    try {
      return await work();
    } finally {
      leave();
    }
  };
}
