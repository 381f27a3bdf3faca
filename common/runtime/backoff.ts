/**
 * The one retry helper. Full jitter: the delay is random in [0, min(cap, base * 2^attempt)), so
 * that many clients never fall into step.
 */
import { setTimeout as sleep } from 'node:timers/promises';

export interface BackoffOptions {
  baseMs: number;
  capMs: number;
  /** Random in [0, 1); tests give their own. */
  random?: () => number;
}

/** Delay before retry number `attempt` (0 = the first retry), in milliseconds. */
export function backoffDelayMs(attempt: number, options: BackoffOptions): number {
  const ceiling = Math.min(options.capMs, options.baseMs * 2 ** Math.min(attempt, 30));
  return Math.floor((options.random ?? Math.random)() * ceiling);
}

export interface RetryOptions extends BackoffOptions {
  /** Ends the loop; the last error is thrown. */
  signal?: AbortSignal;
  /** No retry starts after this many milliseconds. */
  deadlineMs?: number;
  /** Says whether an error may be tried again; default: every error. */
  retryable?: (error: unknown) => boolean;
  onRetry?: (error: unknown, attempt: number, delayMs: number) => void;
}

/** Runs `work` until it succeeds, the signal aborts, the deadline passes or the error is final. */
export async function withRetry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work(attempt);
    } catch (error) {
      if (options.signal?.aborted === true || options.retryable?.(error) === false) throw error;
      const delayMs = backoffDelayMs(attempt, options);
      const spentMs = performance.now() - startedAt;
      if (options.deadlineMs !== undefined && spentMs + delayMs > options.deadlineMs) throw error;
      options.onRetry?.(error, attempt, delayMs);
      await sleep(delayMs, undefined, options.signal ? { signal: options.signal } : {});
    }
  }
}
