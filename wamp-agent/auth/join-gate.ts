/**
 * Lets a bounded number of boards join at a time, first come first served. Without it the router
 * serves a storm of joins breadth-first, and all of them finish at the very end.
 */
import { AppError } from '../../common/runtime/app-error.ts';

export interface JoinGate {
  /** Resolves when this WAMP session may go on. Throws `too-many-requests` when too many wait. */
  enter(wampSession: number): Promise<void>;
  /** The session has said hello, or will not. */
  leave(wampSession: number): void;
  waiting(): number;
}

export interface JoinGateOptions {
  places?: number;
  /** A place comes free after this time too: hello may have gone to another agent. */
  holdMs?: number;
  maxWaiting?: number;
}

export function createJoinGate(options: JoinGateOptions = {}): JoinGate {
  const { places = 64, holdMs = 500, maxWaiting = 20_000 } = options;
  const holders = new Map<number, NodeJS.Timeout>();
  const queue: { wampSession: number; go: () => void }[] = [];
  let head = 0;

  function take(wampSession: number): void {
    clearTimeout(holders.get(wampSession));
    const timer = setTimeout(() => leave(wampSession), holdMs);
    timer.unref();
    holders.set(wampSession, timer);
  }

  function leave(wampSession: number): void {
    clearTimeout(holders.get(wampSession));
    if (!holders.delete(wampSession)) return;
    const next = queue[head];
    if (!next) return;
    head += 1;
    if (head > 1000) {
      queue.splice(0, head);
      head = 0;
    }
    take(next.wampSession);
    next.go();
  }

  return {
    enter(wampSession) {
      if (holders.size < places && head === queue.length) {
        take(wampSession);
        return Promise.resolve();
      }
      if (queue.length - head >= maxWaiting)
        return Promise.reject(
          new AppError('too-many-requests', 'too many boards are joining', {
            details: { retryAfterMs: 10_000 },
          }),
        );
      return new Promise((resolve) => {
        queue.push({ wampSession, go: resolve });
      });
    },
    leave,
    waiting: () => queue.length - head,
  };
}
