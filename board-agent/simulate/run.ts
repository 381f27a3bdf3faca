/** One run of a load from its first message to the verdict: sent, acknowledged and stored are equal, or not. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Load, LoadCounts } from './load.ts';
import { runPace } from './pace.ts';

export interface RunOptions {
  rate: number;
  forMs: number;
  /** How long what is under way may take after the last message. */
  patienceMs: number;
  /** Ends the sending; the totals are of what was sent until then. */
  signal: AbortSignal;
  /** Each second. */
  progress: (line: string) => void;
}

export interface RunResult extends LoadCounts {
  /** What the rate asked for; more than sent when the load could not keep up. */
  planned: number;
  stored: number;
  seconds: number;
  equal: boolean;
  differences: string[];
}

/** After Ctrl-C a person waits. */
const shortPatienceMs = 10_000;

export async function runLoad(load: Load, options: RunOptions): Promise<RunResult> {
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  const timer = setInterval(() => options.progress(formatProgress(load.counts(), seconds())), 1000);
  try {
    const planned = await runPace(load, options);
    const sendingSeconds = seconds();
    const patienceMs = options.signal.aborted ? shortPatienceMs : options.patienceMs;
    const until = AbortSignal.any([AbortSignal.timeout(patienceMs), afterAbort(options.signal)]);
    await load.drain(until);
    const stored = await waitForStored(load, until);
    const counts = load.counts();
    const equal = counts.sent === counts.acknowledged && counts.sent === stored;
    const differences = equal ? [] : await load.findDifferences();
    return { ...counts, planned, stored, seconds: sendingSeconds, equal, differences };
  } finally {
    clearInterval(timer);
  }
}

/** Aborts when `signal` does while we wait; a run that was ended before has its own, shorter patience. */
function afterAbort(signal: AbortSignal): AbortSignal {
  return signal.aborted ? new AbortController().signal : signal;
}

async function waitForStored(load: Load, until: AbortSignal): Promise<number> {
  let stored = await load.countStored();
  // More than was acknowledged may be stored: an answer can be lost.
  while (stored < load.counts().sent && !until.aborted) {
    await sleep(500, undefined, { signal: until }).catch(() => undefined);
    stored = await load.countStored();
  }
  return stored;
}

function formatProgress({ sent, acknowledged, refused, unavailable }: LoadCounts, seconds: number): string {
  const trouble = refused + unavailable > 0 ? `, refused ${refused}, unavailable ${unavailable} times` : '';
  return `${String(Math.round(seconds)).padStart(4)} s  sent ${sent}, acknowledged ${acknowledged}${trouble}`;
}

export function formatResult(result: RunResult): string {
  const { planned, sent, acknowledged, stored, refused, unavailable, seconds, equal, differences } = result;
  const rate = seconds > 0 ? ` (${(sent / seconds).toFixed(1)}/s)` : '';
  return [
    `sent ${sent}${rate}, acknowledged ${acknowledged}, stored ${stored}: ${equal ? 'equal' : 'not equal'}`,
    ...(planned > sent ? [`planned were ${planned}: the rate could not be kept`] : []),
    ...(refused + unavailable > 0 ? [`refused ${refused}, unavailable ${unavailable} times`] : []),
    ...differences.slice(0, 50).map((each) => `  ${each}`),
    ...(differences.length > 50 ? [`  and ${differences.length - 50} more`] : []),
  ].join('\n');
}
