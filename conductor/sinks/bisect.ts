/**
 * Finds the points that a target refuses: a refused batch is halved until the culprits stand alone. What
 * the target takes at once is remembered, so that not every batch is found too large first.
 */
import type { Retry, SinkPoint, WriteOutcome } from './sink-kind.ts';

export type SendOutcome =
  | { outcome: 'taken' }
  /** At least one of them will never be taken, or they are too many. */
  | { outcome: 'refused'; reason: string; isTooLarge?: boolean }
  | Retry;

export type Send = (points: readonly SinkPoint[], signal: AbortSignal) => Promise<SendOutcome>;

export function createBisected(
  send: Send,
): (points: readonly SinkPoint[], signal: AbortSignal) => Promise<WriteOutcome> {
  /** Points of one request; grows again, because it may have been a single point that was too large. */
  let most = Number.POSITIVE_INFINITY;

  return async (points, signal) => {
    const rejected = new Map<number, string>();
    const ranges: [from: number, to: number][] = [[0, points.length]];
    // The first of two parts always comes next: the order is kept, and what is before a range is dealt with.
    for (let range = ranges.pop(); range; range = ranges.pop()) {
      const [from, to] = range;
      if (to - from > most) {
        ranges.push([from + most, to], [from, from + most]);
        continue;
      }
      const sent = await send(points.slice(from, to), signal);
      if (sent.outcome === 'retry') return from > 0 ? { ...sent, settled: { count: from, rejected } } : sent;
      if (sent.outcome === 'taken') {
        if (to - from === most) most += 1;
      } else if (to - from === 1) {
        rejected.set(from, sent.reason);
      } else {
        const middle = (from + to) >>> 1;
        if (sent.isTooLarge) most = Math.max(1, middle - from);
        ranges.push([middle, to], [from, middle]);
      }
    }
    return { outcome: 'written', rejected };
  };
}
