/**
 * When a schedule is due. The conductor and the board (for schedules that work offline) both ask
 * here, so that they mean the same times. Pure: the time is always an argument.
 *
 * Crons are local times of a zone. On the day that the clocks go forward a time that does not exist
 * is due at the first moment after the gap; on the day they go back a time that exists twice is due
 * the first time only. Crons with `*` or a step in the time of day follow the real hours instead.
 */
import { Cron } from 'croner';
import { AppError } from '../runtime/app-error.ts';
import type { ScheduleTiming } from '../wamp/board-schedules.ts';

export const timingLimits = {
  /** Seconds. */
  minInterval: 1,
  maxInterval: 31_536_000,
  /** What `listDue` skips of a cron is counted up to here: it has to be walked through. */
  countedSkips: 2000,
} as const;

const fiveFields = ['minute', 'hour', 'day of the month', 'month', 'day of the week'];
const firstWindowMs = 60_000;

function refuse(field: string, sentence: string): never {
  throw new AppError('invalid-arguments', `${field} ${sentence}`, { details: { field } });
}

/** Throws AppError `invalid-arguments` for a timing that cannot be kept or is never due after `now`. */
export function checkTiming(timing: ScheduleTiming, now: number): void {
  if (timing.kind === 'once') {
    if (!Number.isSafeInteger(timing.at)) refuse('timing.at', 'must be a time');
    if (timing.at <= now) refuse('timing.at', 'is in the past');
    return;
  }
  if (timing.kind === 'interval') {
    const { minInterval: min, maxInterval: max } = timingLimits;
    const { everySeconds } = timing;
    if (!Number.isSafeInteger(everySeconds) || everySeconds < min || everySeconds > max)
      refuse('timing.everySeconds', `must be a whole number from ${min} to ${max}`);
    return;
  }
  checkTimeZone(timing.timeZone, 'timing.timeZone');
  checkCron(timing.cron, timing.timeZone);
  if (nextDue(timing, now) === undefined) refuse('timing.cron', `"${timing.cron}" is never due`);
}

/** Throws AppError `invalid-arguments` unless it is a zone of the IANA database. */
export function checkTimeZone(timeZone: string, field: string): void {
  try {
    // Node also takes offsets such as +02:00, which know no summer time.
    if (!/^[a-z]/i.test(timeZone)) throw new RangeError('not a name');
    new Intl.DateTimeFormat('en', { timeZone });
  } catch (error) {
    throw new AppError('invalid-arguments', `${field} "${timeZone}" is not a known time zone`, {
      cause: error,
      details: { field },
    });
  }
}

function checkCron(cron: string, timeZone: string): void {
  const field = 'timing.cron';
  const parts = cron.trim().split(/\s+/);
  if (parts.length !== 5 && parts.length !== 6)
    refuse(field, `must have 5 fields, or 6 with seconds in front, not ${parts.length}`);
  const names = parts.length === 6 ? ['second', ...fiveFields] : fiveFields;
  const parses = (text: string) => {
    try {
      return Boolean(createCron(text, timeZone));
    } catch {
      // The library's own message names the field in its own words; the place is found below.
      return false;
    }
  };
  const wrong = parts.findIndex(
    // `?` is the moment of parsing, which differs from process to process.
    (part, place) =>
      part.includes('?') || !parses(parts.map((_each, index) => (index === place ? part : '*')).join(' ')),
  );
  if (wrong >= 0) refuse(field, `does not parse: the ${names[wrong]} "${parts[wrong]}"`);
  if (!parses(cron)) refuse(field, `does not parse: "${cron}"`);
}

function createCron(cron: string, timezone: string): Cron {
  return new Cron(cron.trim(), {
    timezone,
    mode: '5-or-6-parts',
    fixedTimeRule: 'no-wildcard',
    paused: true,
  });
}

/** The first due time after `after` (epoch milliseconds), or undefined when there is none. */
export function nextDue(timing: ScheduleTiming, after: number): number | undefined {
  return createWalk(timing)(after);
}

/** Next due time after a moment, for walking along a timing without parsing it at every step. */
function createWalk(timing: ScheduleTiming): (after: number) => number | undefined {
  if (timing.kind === 'once') return (after) => (timing.at > after ? timing.at : undefined);
  if (timing.kind === 'interval') {
    const everyMs = timing.everySeconds * 1000;
    return (after) => timing.from + Math.max(0, Math.floor((after - timing.from) / everyMs) + 1) * everyMs;
  }
  const cron = createCron(timing.cron, timing.timeZone);
  return (after) => cron.nextRun(new Date(after))?.getTime();
}

export interface DueTimes {
  /** Oldest first. */
  due: number[];
  /** How many older ones were left out; of a cron at most `timingLimits.countedSkips` are counted. */
  skipped: number;
}

/**
 * Due times after `after` up to and including `until`: the newest `max` of them. Costs as much as it
 * gives, however long the time between is.
 */
export function listDue(timing: ScheduleTiming, after: number, until: number, max: number): DueTimes {
  if (until <= after) return { due: [], skipped: 0 };
  const next = createWalk(timing);
  const due = max > 0 ? newest(next, after, until, max) : [];
  return { due, skipped: countBefore(timing, next, after, due[0] ?? until + 1) };
}

/** Looks back from `until` in growing steps, so that a second's cron after a year is no year's walk. */
function newest(
  next: (after: number) => number | undefined,
  after: number,
  until: number,
  max: number,
): number[] {
  for (let windowMs = firstWindowMs; ; windowMs *= 4) {
    const from = Math.max(after, until - windowMs);
    const found: number[] = [];
    for (let at = next(from); at !== undefined && at <= until; at = next(at)) found.push(at);
    if (found.length >= max || from === after) return found.slice(-max);
  }
}

function countBefore(
  timing: ScheduleTiming,
  next: (after: number) => number | undefined,
  after: number,
  end: number,
): number {
  const first = next(after);
  if (first === undefined || first >= end) return 0;
  if (timing.kind === 'interval') return Math.ceil((end - first) / (timing.everySeconds * 1000));
  let count = 0;
  for (let at: number | undefined = first; at !== undefined && at < end; at = next(at)) {
    count += 1;
    if (count === timingLimits.countedSkips) break;
  }
  return count;
}
