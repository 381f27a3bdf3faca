/** A clock that moves only when told, and a logger that says nothing. */
import type { Clock } from '../../../board-agent/clock.ts';
import type { Logger } from '../../../common/runtime/logger.ts';

export const silent: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  child: () => silent,
};

export interface FakeClock extends Clock {
  /** Moves time on, running what falls due, in order, and lets promises settle between. */
  advance(ms: number): Promise<void>;
  set(now: number): void;
  /** The host sleeps: its clock goes on, monotonic time and timers do not. */
  sleep(ms: number): void;
  /** Delays that are waiting, shortest first. */
  pending(): number[];
}

export function createFakeClock(start = Date.UTC(2026, 0, 1)): FakeClock {
  let elapsed = 0;
  let offset = start;
  let slept = 0;
  let timers: { dueAt: number; work: () => void }[] = [];
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

  return {
    now: () => offset + elapsed,
    monotonicMs: () => elapsed,
    uptimeMs: () => elapsed + slept,
    after(delayMs, work) {
      const timer = { dueAt: elapsed + delayMs, work };
      timers.push(timer);
      return () => {
        timers = timers.filter((each) => each !== timer);
      };
    },
    async advance(ms) {
      const end = elapsed + ms;
      await settle();
      for (;;) {
        const next = timers.filter((each) => each.dueAt <= end).sort((a, b) => a.dueAt - b.dueAt)[0];
        if (!next) break;
        timers = timers.filter((each) => each !== next);
        elapsed = Math.max(elapsed, next.dueAt);
        next.work();
        await settle();
      }
      elapsed = end;
      await settle();
    },
    set(now) {
      offset = now - elapsed;
    },
    sleep(ms) {
      offset += ms;
      slept += ms;
    },
    pending: () => timers.map((each) => each.dueAt - elapsed).sort((a, b) => a - b),
  };
}
