import { describe, expect, it } from 'vitest';
import { backoffDelayMs, withRetry } from '../../../common/runtime/backoff.ts';

const options = { baseMs: 100, capMs: 1000 };

describe('backoff', () => {
  it('draws from a window that doubles up to the cap', () => {
    const almostOne = () => 0.999_999;
    expect(
      [0, 1, 2, 3, 4, 50].map((attempt) => backoffDelayMs(attempt, { ...options, random: almostOne })),
    ).toEqual([99, 199, 399, 799, 999, 999]);
    expect(backoffDelayMs(4, { ...options, random: () => 0 })).toBe(0);
  });

  it('stops at an error that is final', async () => {
    let calls = 0;
    const work = async () => {
      calls += 1;
      throw new Error(calls === 2 ? 'final' : 'passing');
    };
    await expect(
      withRetry(work, { baseMs: 1, capMs: 1, retryable: (error) => (error as Error).message !== 'final' }),
    ).rejects.toThrow('final');
    expect(calls).toBe(2);
  });

  it('gives the last error when the deadline leaves no time for another try', async () => {
    let calls = 0;
    const work = async () => {
      calls += 1;
      throw new Error(`failure ${calls}`);
    };
    await expect(
      withRetry(work, { baseMs: 500, capMs: 500, deadlineMs: 0, random: () => 0.9 }),
    ).rejects.toThrow('failure 1');
  });

  it('ends at once when aborted while it waits', async () => {
    const abort = new AbortController();
    const startedAt = performance.now();
    const running = withRetry(() => Promise.reject(new Error('down')), {
      baseMs: 60_000,
      capMs: 60_000,
      random: () => 0.9,
      signal: abort.signal,
      onRetry: () => abort.abort(),
    });
    await expect(running).rejects.toThrow();
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });
});
