/**
 * Many boards, one small batch a second each, spread over the second. The lag of a batch runs from
 * when it was due, so that a server which falls behind is not excused by boards that wait for it.
 */
import { quantile } from '../measure.ts';
import type { FanInOutcome } from './messages.ts';
import type { SimulatedBoard } from './simulated-board.ts';

export interface FanInOptions {
  seconds: number;
  /** Not counted: connections and caches get warm. */
  warmUpSeconds: number;
  readingsPerBatch: number;
}

export async function runFanIn(
  boards: readonly SimulatedBoard[],
  options: FanInOptions,
): Promise<FanInOutcome> {
  const lags: number[] = [];
  const tally = { failed: 0, skipped: 0 };
  const countFrom = performance.now() + options.warmUpSeconds * 1000;
  const endsAt = countFrom + options.seconds * 1000;

  async function send(board: SimulatedBoard, dueAt: number): Promise<void> {
    const counts = dueAt >= countFrom;
    try {
      await board.session.call('appendReadings', board.nextBatch(options.readingsPerBatch), 30_000);
      if (counts) lags.push(performance.now() - dueAt);
    } catch {
      tally.failed += 1;
    }
  }

  async function play(board: SimulatedBoard, offsetMs: number): Promise<void> {
    let dueAt = performance.now() + offsetMs;
    while (dueAt < endsAt) {
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAt - performance.now())));
      await send(board, dueAt);
      dueAt += 1000;
      // One batch of a board at a time, as in the agent: a late answer costs the next seconds theirs.
      while (dueAt + 1000 < performance.now()) {
        dueAt += 1000;
        if (dueAt >= countFrom) tally.skipped += 1;
      }
    }
  }

  await Promise.all(boards.map((board, index) => play(board, (index / boards.length) * 1000)));
  return {
    batches: lags.length,
    ...tally,
    seconds: options.seconds,
    lagsMs: { p50: quantile(lags, 0.5), p99: quantile(lags, 0.99), max: Math.max(...lags) },
  };
}
