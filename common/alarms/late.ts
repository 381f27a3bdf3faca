/**
 * Readings that come after newer ones of their stream. They never raise what is over and never clear
 * what still is: the newest reading says how things stand. What they can change is since when it has
 * been so: the run that is pending or clearing is worked out anew from the stored readings. Pure.
 */
import type { Criterion } from './rules.ts';
import { isWorse, signalOf, type WatchedReading } from './signals.ts';
import { clampAhead, dueTime, holds } from './timing.ts';
import { clear, raise, type Step, type Transition, type Watch } from './watch.ts';

/** More of the newest readings are not looked at. */
export const reviewedReadings = 5000;

export interface LateSplit {
  late: WatchedReading[];
  inOrder: WatchedReading[];
}

/** @param readings new ones of the stream, in any order; both answers are in the order of their times */
export function splitLate(watch: Watch, readings: readonly WatchedReading[], now: number): LateSplit {
  const sorted = readings.map((each) => clampAhead(each, now)).sort((left, right) => left.at - right.at);
  const lastAt = watch.last?.at ?? Number.NEGATIVE_INFINITY;
  const first = sorted.findIndex(({ at }) => at >= lastAt);
  const count = first < 0 ? sorted.length : first;
  return { late: sorted.slice(0, count), inOrder: sorted.slice(count) };
}

function wantedOf({ phase }: Watch): 'bad' | 'good' {
  return phase === 'ok' || phase === 'pending' ? 'bad' : 'good';
}

const durationOf = (rule: Criterion, watch: Watch) =>
  (wantedOf(watch) === 'bad' ? rule.forSeconds : rule.clearForSeconds) * 1000;

/**
 * The stored readings that a review needs: those of `from` … `to`, and the one before; undefined when
 * the late ones change nothing.
 */
export function reviewWindow(
  rule: Criterion,
  watch: Watch,
  late: readonly WatchedReading[],
): { from: number; to: number } | undefined {
  if (late.length === 0 || !watch.last) return undefined;
  // The late one may be what the newest is compared with.
  const isOpen = watch.phase === 'pending' || watch.phase === 'clearing' || rule.condition.kind === 'rate';
  return isOpen ? { from: watch.last.at - durationOf(rule, watch), to: watch.last.at } : undefined;
}

export interface Review {
  /** Of the window, with the late ones, oldest first. */
  stored: readonly WatchedReading[];
  late: readonly WatchedReading[];
  now: number;
}

export function reviewRun(rule: Criterion, watch: Watch, { stored, late, now }: Review): Step {
  const wanted = wantedOf(watch);
  const run = trailingRun(rule, watch, { stored, now });
  const transitions: Transition[] = [];
  if (!run) {
    const rested: Watch =
      wanted === 'bad'
        ? { ...watch, phase: 'ok', since: null, peak: null, peakAt: null }
        : { ...watch, phase: 'raised' };
    return { watch: { ...rested, dueAt: null }, transitions };
  }
  const since = run.isCut ? knownStart(rule, watch, run.since, late, wanted) : run.since;
  const peak = wanted === 'bad' ? { peak: run.peak, peakAt: run.peakAt } : {};
  const moved: Watch = { ...watch, phase: wanted === 'bad' ? 'pending' : 'clearing', since, ...peak };
  if ((watch.last?.at ?? since) - since < durationOf(rule, moved))
    return { watch: { ...moved, dueAt: dueTime(rule, moved, now) }, transitions };
  const by = 'late-reading';
  const ended =
    wanted === 'bad' ? raise(moved, by, watch.last, transitions) : clear(moved, by, watch.last, transitions);
  return { watch: { ...ended, dueAt: null }, transitions };
}

interface Run {
  since: number;
  peak: number | null;
  peakAt: number | null;
  /** It goes back to the first reading that was looked at, and not all were. */
  isCut: boolean;
}

/** The readings at the end that all are what is wanted; undefined when the newest is not. */
function trailingRun(
  rule: Criterion,
  watch: Watch,
  { stored, now }: Pick<Review, 'stored' | 'now'>,
): Run | undefined {
  const signals = stored.flatMap((each, index) => {
    const before = stored[index - 1];
    const reading = clampAhead(each, now);
    const signal = signalOf(rule, reading, before && clampAhead(before, now));
    return signal ? [{ ...signal, at: reading.at }] : [];
  });
  const wanted = wantedOf(watch);
  const duration = durationOf(rule, watch);
  let run: Run | undefined;
  for (const { is, at, measure } of signals.reverse()) {
    if (is !== wanted || (run && !holds(at, run.since, duration))) return run;
    const isPeak = measure !== undefined && (run?.peak == null || !isWorse(rule, run.peak, measure));
    const peak = isPeak
      ? { peak: measure, peakAt: at }
      : { peak: run?.peak ?? null, peakAt: run?.peakAt ?? null };
    run = { since: at, ...peak, isCut: false };
  }
  return run && { ...run, isCut: stored.length >= reviewedReadings };
}

/** Of a run that began before what was looked at: where it was known to begin, unless a late one breaks it. */
function knownStart(
  rule: Criterion,
  watch: Watch,
  lookedSince: number,
  late: readonly WatchedReading[],
  wanted: 'bad' | 'good',
): number {
  const { since } = watch;
  if (since === null || since >= lookedSince) return lookedSince;
  const breaks = late.some(
    (each) => each.at >= since && each.at < lookedSince && signalOf(rule, each, undefined)?.is !== wanted,
  );
  return breaks ? lookedSince : since;
}
