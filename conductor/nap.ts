/** What a loop that looks for work does in between: it sleeps, and is woken when there is something to look for. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../common/runtime/logger.ts';

export interface Nap {
  /** Ends the sleep; outside of one, `isWoken` says until the next look that there is no time for it. */
  wake(): void;
  /** What one was woken for until now is seen by the look that begins. */
  beginLook(): void;
  isWoken(): boolean;
  /** Ends early when woken, and when stopped. */
  sleep(delayMs: number): Promise<void>;
}

export function createNap(stopping: AbortSignal): Nap {
  let isWoken = false;
  let end: () => void = () => undefined;
  return {
    wake() {
      isWoken = true;
      end();
    },
    beginLook() {
      isWoken = false;
    },
    isWoken: () => isWoken,
    async sleep(delayMs) {
      if (stopping.aborted) return;
      const woken = new AbortController();
      end = () => woken.abort();
      const signal = AbortSignal.any([woken.signal, stopping]);
      // Rejects only then.
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
      end = () => undefined;
    },
  };
}

export interface Looks {
  /** There is something to look for: looks at once. */
  wake(): void;
  /** Resolves when a look under way has ended, after `stopping`. */
  ended: Promise<void>;
}

export interface LooksOptions {
  /** What for; as in 'cannot look for …'. */
  subject: string;
  /** Between two looks when nobody wakes; a tenth more or less, so that conductors drift apart. */
  everyMs: number;
  logger: Logger;
  stopping: AbortSignal;
}

/** Looks for work until it is stopped: one look at a time, and after one that failed there is another. */
export function startLooks(
  { subject, everyMs, logger, stopping }: LooksOptions,
  look: () => Promise<void>,
): Looks {
  const nap = createNap(stopping);
  const loop = async () => {
    while (!stopping.aborted) {
      nap.beginLook();
      try {
        await look();
      } catch (error) {
        if (!stopping.aborted) logger.warn({ err: error }, `cannot look for ${subject}, will look again`);
      }
      if (!nap.isWoken()) await nap.sleep(everyMs * (0.9 + Math.random() * 0.2));
    }
  };
  return { wake: nap.wake, ended: loop() };
}
