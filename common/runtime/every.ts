/** A repeating task that never overlaps itself, never throws out of the loop, and has an owner that stops it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from './logger.ts';

export interface RepeatingTask {
  /** Ends the loop and waits for the run in progress. */
  stop(): Promise<void>;
}

export interface EveryOptions {
  name: string;
  intervalMs: number;
  logger: Logger;
  /** Share of the interval that is random, 0 to 1: processes started together drift apart. */
  jitter?: number;
}

/** Runs `task` at once and then `intervalMs` after each end. */
export function every(options: EveryOptions, task: (signal: AbortSignal) => Promise<void>): RepeatingTask {
  const abort = new AbortController();
  const loop = async () => {
    while (!abort.signal.aborted) {
      try {
        await task(abort.signal);
      } catch (error) {
        if (!abort.signal.aborted)
          options.logger.warn({ err: error, task: options.name }, 'task failed, will run again');
      }
      const delayMs = options.intervalMs * (1 - (options.jitter ?? 0.1) * Math.random());
      // Rejects only when stopped, which the loop's condition sees.
      await sleep(delayMs, undefined, { signal: abort.signal }).catch(() => undefined);
    }
  };
  const running = loop();
  return {
    async stop() {
      abort.abort();
      await running;
    },
  };
}
