/** Finds the points that a target refuses: a refused batch is halved until the culprits stand alone. */
import type { SinkPoint, WriteOutcome } from './sink-kind.ts';

export type SendOutcome =
  | { outcome: 'taken' }
  /** At least one of them will never be taken. */
  | { outcome: 'refused'; reason: string }
  | Extract<WriteOutcome, { outcome: 'retry' }>;

export async function writeBisected(
  points: readonly SinkPoint[],
  send: (points: readonly SinkPoint[]) => Promise<SendOutcome>,
): Promise<WriteOutcome> {
  const rejected = new Map<number, string>();
  const ranges: [from: number, to: number][] = [[0, points.length]];
  for (let range = ranges.pop(); range; range = ranges.pop()) {
    const [from, to] = range;
    const sent = await send(points.slice(from, to));
    if (sent.outcome === 'retry') return sent;
    if (sent.outcome === 'taken') continue;
    if (to - from === 1) {
      rejected.set(from, sent.reason);
      continue;
    }
    const middle = (from + to) >>> 1;
    // The first half comes next: the order is kept.
    ranges.push([middle, to], [from, middle]);
  }
  return { outcome: 'written', rejected };
}
