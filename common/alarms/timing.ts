/**
 * How long a reading holds, and when the server's clock decides because no newer one comes. Pure.
 *
 * A reading holds for the duration asked for plus a minute; what is older says nothing about now, and
 * only newer readings decide. Data that comes more than ten seconds after it was measured is
 * from a backlog, and more of it is on its way: the clock waits ten seconds after the last of it.
 */
import type { Criterion } from './rules.ts';
import type { WatchedReading } from './signals.ts';
import type { Watch } from './watch.ts';

/** How far behind data may come and still count as live. */
const liveMs = 10_000;
/** After the last piece of a backlog. */
export const settleMs = 10_000;
/** Beyond the duration of the rule. */
export const holdMs = 60_000;

/** Whether what was measured at `at` still says how things are at `then`. */
export function holds(at: number, then: number, durationMs: number): boolean {
  return then - at <= durationMs + holdMs;
}

/** Readings dated farther ahead of the server than this are taken as measured now: the board's clock is wrong. */
export const aheadMs = 10_000;

export function clampAhead(reading: WatchedReading, now: number): WatchedReading {
  return reading.at > now + aheadMs ? { ...reading, at: now } : reading;
}

/** Of the run that is under way; undefined = there is none that time could end. */
export function durationMs(rule: Criterion, watch: Watch): number | undefined {
  // A rate is between two readings: it does not go on while there are none.
  if (rule.condition.kind === 'rate') return undefined;
  if (watch.phase === 'pending') return rule.forSeconds * 1000;
  return watch.phase === 'clearing' ? rule.clearForSeconds * 1000 : undefined;
}

/** null = time alone changes nothing. */
export function dueTime(rule: Criterion, watch: Watch, now: number): number | null {
  const duration = durationMs(rule, watch);
  if (duration === undefined || watch.since === null) return null;
  return afterBacklog(Math.min(watch.since, now) + duration, watch.last, now);
}

export function afterBacklog(dueAt: number, last: WatchedReading | null, now: number): number {
  const isLate = last !== null && now - last.at > liveMs;
  return isLate ? Math.max(dueAt, now + settleMs) : dueAt;
}
