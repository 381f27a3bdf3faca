/** Sends at a steady rate, spread evenly over the devices. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Load } from './load.ts';

export interface PaceOptions {
  /** Readings of one device per second. */
  rate: number;
  forMs: number;
  signal: AbortSignal;
}

const tickMs = 10;

/**
 * What should have been sent by now; more than `load.sent` when there was no room. The number is
 * exact when it runs to its end: devices × rate × seconds.
 */
export async function runPace(load: Load, { rate, forMs, signal }: PaceOptions): Promise<number> {
  const startedMs = performance.now();
  let next = 0;
  let due = 0;
  for (let elapsedMs = 0; elapsedMs < forMs && !signal.aborted; ) {
    // The last tick may be late; what is due is bounded by the time all the same.
    elapsedMs = Math.min(performance.now() - startedMs, forMs);
    due = Math.round((elapsedMs / 1000) * rate * load.devices - 0.5);
    if (elapsedMs === forMs) due = Math.round((forMs / 1000) * rate * load.devices);
    for (; next < due && load.hasRoom(); next += 1) load.send(next % load.devices);
    await sleep(tickMs);
  }
  return due;
}
