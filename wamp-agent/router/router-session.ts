/**
 * Keeps the agent joined to its router, for ever:
 *   connecting → joined (set up: subscriptions, then registrations) → serving → connecting …
 * The router is on the same machine, so it is asked again quickly.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import type { RouterLink } from './link.ts';

export interface RouterSession {
  start(): void;
  /** The session that serves now; throws `unavailable` without one. */
  current(): WampSession;
  isServing(): boolean;
  /** Takes no more calls and finishes those under way; the session can still be used for calls. */
  drain(graceMs: number): Promise<void>;
  stop(): Promise<void>;
}

export interface RouterSessionOptions {
  open: () => Promise<RouterLink>;
  /** Subscribes and registers; the session serves when it resolves. */
  setUp: (session: WampSession) => Promise<void>;
  onServing: (session: WampSession) => void;
  onLost: (reason: string) => void;
  logger: Logger;
}

const retry = { baseMs: 200, capMs: 2000 };

export function createRouterSession(options: RouterSessionOptions): RouterSession {
  const { logger } = options;
  const abort = new AbortController();
  let link: RouterLink | undefined;
  let serving: RouterLink | undefined;
  let running: Promise<void> | undefined;

  async function keepUp(): Promise<void> {
    for (let attempt = 0; !abort.signal.aborted; attempt += 1) {
      try {
        await runOnce(() => {
          attempt = 0;
        });
      } catch (error) {
        if (abort.signal.aborted) return;
        logger.warn({ err: error, attempt }, 'not joined to the router, will try again');
      }
      const delayMs = 100 + backoffDelayMs(attempt, retry);
      // Rejects only when stopped, which the loop's condition sees.
      await sleep(delayMs, undefined, { signal: abort.signal }).catch(() => undefined);
    }
  }

  async function runOnce(onServing: () => void): Promise<void> {
    link = await options.open();
    try {
      if (abort.signal.aborted) return;
      await options.setUp(link);
      serving = link;
      onServing();
      logger.info({ wampSession: link.id }, 'serving at the router');
      options.onServing(link);
      const reason = await link.ended;
      serving = undefined;
      options.onLost(reason);
      if (!abort.signal.aborted) logger.warn({ reason }, 'the router session ended');
    } finally {
      serving = undefined;
      link.close();
    }
  }

  return {
    start() {
      running ??= keepUp();
    },
    current() {
      if (!serving) throw new AppError('unavailable', 'not joined to the router');
      return serving;
    },
    isServing: () => serving !== undefined,
    async drain(graceMs) {
      // A session that ends from now on is not opened again.
      abort.abort();
      await link?.drain(graceMs);
    },
    async stop() {
      abort.abort();
      link?.close();
      await running;
    },
  };
}
