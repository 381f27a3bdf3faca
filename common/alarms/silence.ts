/** `noData`: the newest reading, by its measured time, is older than the duration. Pure. */
import type { Criterion } from './rules.ts';
import type { WatchedReading } from './signals.ts';
import { afterBacklog } from './timing.ts';
import { atRest, freshWatch, raise, type Step, type Transition, type Watch } from './watch.ts';

/** New readings of the stream, in any order. A backlog clears nothing before it comes to what is fresh. */
export function takeData(
  rule: Criterion,
  watch: Watch,
  readings: readonly WatchedReading[],
  now: number,
): Step {
  const newest = readings.reduce<WatchedReading | null>(
    (best, each) => (best === null || each.at >= best.at ? each : best),
    watch.last,
  );
  // A board whose clock is ahead is not heard in the future.
  const last = newest && newest.at > now ? { ...newest, at: now } : newest;
  const transitions: Transition[] = [];
  if (!last) return { watch, transitions };
  const limitMs = rule.forSeconds * 1000;
  const isSilent = now - last.at >= limitMs;
  if (watch.phase === 'raised' && isSilent) return { watch: { ...watch, last }, transitions };
  if (watch.phase === 'raised')
    transitions.push({
      kind: 'clear',
      since: last.at,
      reading: last,
      by: 'reading',
      peak: null,
      peakAt: null,
    });
  return {
    watch: { ...atRest({ ...watch, last }), dueAt: afterBacklog(last.at + limitMs, last, now) },
    transitions,
  };
}

/** @param at measured time of the stream's newest reading, or since when it is watched */
export function watchSilence(rule: Criterion, at: number): Watch {
  return { ...freshWatch, last: null, since: at, dueAt: at + rule.forSeconds * 1000 };
}

export function takeSilence(rule: Criterion, watch: Watch, now: number): Step {
  const transitions: Transition[] = [];
  const heardAt = watch.last?.at ?? watch.since;
  if (watch.phase === 'raised' || heardAt === null) return { watch: { ...watch, dueAt: null }, transitions };
  const dueAt = Math.max(heardAt + rule.forSeconds * 1000, watch.dueAt ?? 0);
  if (now < dueAt) return { watch: { ...watch, dueAt }, transitions };
  const moved = raise({ ...watch, since: heardAt }, 'time', watch.last, transitions);
  return { watch: moved, transitions };
}
