/**
 * The watch of one rule over one stream (or one board). Pure.
 *
 *   ok        not bad
 *   pending   bad since `since`, not for long enough yet; any reading that is not bad ends it
 *   raised    an alarm is open
 *   clearing  good since `since`, not for long enough yet; any reading that is not good ends it
 *
 * Durations are measured on the times of readings. A reading holds until the next one, but for no
 * longer than timing.ts says: after a longer silence a run begins anew. When nothing newer comes,
 * `dueAt` says when the server's clock decides instead.
 */
import type { Criterion } from './rules.ts';
import { isWorse, type Signal, signalOf, type WatchedReading } from './signals.ts';
import { dueTime, holds } from './timing.ts';

export type WatchPhase = 'ok' | 'pending' | 'raised' | 'clearing';

export interface Watch {
  phase: WatchPhase;
  /** Measured time that the run began which is pending or clearing; of a raised one, the bad run's. */
  since: number | null;
  /** The newest reading by measured time. */
  last: WatchedReading | null;
  /** Farthest on the bad side since `since`. */
  peak: number | null;
  peakAt: number | null;
  /** Server's clock, epoch milliseconds; null = time alone changes nothing. */
  dueAt: number | null;
}

export interface Transition {
  kind: 'raise' | 'clear';
  /** Measured time that the run began which made it so. */
  since: number;
  reading: WatchedReading | null;
  by: 'reading' | 'late-reading' | 'time' | 'presence';
  peak: number | null;
  peakAt: number | null;
}

export interface Step {
  watch: Watch;
  transitions: Transition[];
}

export const freshWatch: Watch = {
  phase: 'ok',
  since: null,
  last: null,
  peak: null,
  peakAt: null,
  dueAt: null,
};

/**
 * Readings that are not older than the newest one before, in the order of their times. The result is
 * the same however they are divided into calls, but for `dueAt`.
 * @param now server's clock
 */
export function takeReadings(
  rule: Criterion,
  watch: Watch,
  readings: readonly WatchedReading[],
  now: number,
): Step {
  const transitions: Transition[] = [];
  let current = watch;
  for (const reading of readings) {
    const signal = signalOf(rule, reading, current.last ?? undefined);
    // What cannot be compared is no reading to this rule; the first of a rate is what the next compares with.
    if (signal) current = move(rule, current, signal, reading, transitions);
    if (signal || rule.condition.kind === 'rate') current = { ...current, last: reading };
  }
  return { watch: { ...current, dueAt: dueTime(rule, current, now) }, transitions };
}

function move(
  rule: Criterion,
  watch: Watch,
  signal: Signal,
  reading: WatchedReading,
  transitions: Transition[],
): Watch {
  const { at } = reading;
  if (watch.phase === 'ok' || watch.phase === 'pending') {
    if (signal.is !== 'bad') return atRest(watch);
    const begun: Watch =
      watch.phase === 'ok' || isCutOff(watch, at, rule.forSeconds)
        ? { ...atRest(watch), phase: 'pending', since: at }
        : watch;
    const run = withPeak(rule, begun, signal, at);
    return at - (run.since ?? at) >= rule.forSeconds * 1000
      ? raise(run, 'reading', reading, transitions)
      : run;
  }
  const open = withPeak(rule, watch, signal, at);
  if (signal.is !== 'good') return { ...open, phase: 'raised' };
  const isRunning = open.phase === 'clearing' && !isCutOff(open, at, rule.clearForSeconds);
  const run: Watch = isRunning ? open : { ...open, phase: 'clearing', since: at };
  return at - (run.since ?? at) >= rule.clearForSeconds * 1000
    ? clear(run, 'reading', reading, transitions)
    : run;
}

function isCutOff({ last }: Watch, at: number, durationSeconds: number): boolean {
  return last !== null && !holds(last.at, at, durationSeconds * 1000);
}

/** @param watch pending */
export function raise(
  watch: Watch,
  by: Transition['by'],
  reading: WatchedReading | null,
  transitions: Transition[],
): Watch {
  transitions.push(transition('raise', watch, by, reading));
  return { ...watch, phase: 'raised', dueAt: null };
}

/** @param watch clearing */
export function clear(
  watch: Watch,
  by: Transition['by'],
  reading: WatchedReading | null,
  transitions: Transition[],
): Watch {
  transitions.push(transition('clear', watch, by, reading));
  return atRest(watch);
}

function transition(
  kind: Transition['kind'],
  { since, peak, peakAt }: Watch,
  by: Transition['by'],
  reading: WatchedReading | null,
): Transition {
  return { kind, since: since ?? reading?.at ?? 0, reading, by, peak, peakAt };
}

export function atRest(watch: Watch): Watch {
  return { ...freshWatch, last: watch.last };
}

function withPeak(rule: Criterion, watch: Watch, { is, measure }: Signal, at: number): Watch {
  if (is !== 'bad' || measure === undefined) return watch;
  if (watch.peak !== null && !isWorse(rule, measure, watch.peak)) return watch;
  return { ...watch, peak: measure, peakAt: at };
}
