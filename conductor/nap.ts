/** What a loop that looks for work does in between: it sleeps, and is woken when there is something to look for. */
import { setTimeout as sleep } from 'node:timers/promises';

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
