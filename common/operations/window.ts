/** Daily windows in which work may begin: local times of a zone, also across midnight. Pure. */
import { AppError } from '../runtime/app-error.ts';
import { asObject, asString } from '../runtime/guards.ts';
import { checkTimeZone, nextDue } from './schedule-times.ts';

export interface DailyWindow {
  /** `HH:MM`, 00:00 to 23:59. Before `from`: until that time of the next day. */
  from: string;
  to: string;
  timeZone: string;
}

export type WindowState = { open: true; closesAt: number } | { open: false; opensAt: number };

const timePattern = /^([01]\d|2[0-3]):[0-5]\d$/;

/** Throws AppError `invalid-arguments` naming what is wrong. */
export function checkWindow(value: unknown, field = 'window'): DailyWindow {
  const input = asObject(value, field, ['from', 'to', 'timeZone']);
  const window = {
    from: asTimeOfDay(input.from, `${field}.from`),
    to: asTimeOfDay(input.to, `${field}.to`),
    timeZone: asString(input.timeZone, `${field}.timeZone`, { max: 60 }),
  };
  checkTimeZone(window.timeZone, `${field}.timeZone`);
  if (window.from === window.to)
    throw new AppError('invalid-arguments', `${field} has no length: from and to are both ${window.from}`, {
      details: { field },
    });
  return window;
}

function asTimeOfDay(value: unknown, field: string): string {
  const text = asString(value, field, { max: 10 });
  if (timePattern.test(text)) return text;
  throw new AppError('invalid-arguments', `${field} must be a time of day such as 08:30`, {
    details: { field },
  });
}

/**
 * Whether the window is open at `at` (epoch milliseconds): from its first moment on, and no longer at
 * its last. A time of day that the clocks leave out is the first moment after the gap; one that
 * comes twice is the first of the two.
 */
export function windowState(window: DailyWindow, at: number): WindowState {
  const opensAt = nextTime(window.from, window.timeZone, at);
  const closesAt = nextTime(window.to, window.timeZone, at);
  // Both fall into the same gap of the clocks: on that day the window, or the break, does not exist.
  if (opensAt === closesAt) return windowState(window, opensAt);
  return closesAt < opensAt ? { open: true, closesAt } : { open: false, opensAt };
}

function nextTime(timeOfDay: string, timeZone: string, after: number): number {
  const [hour, minute] = timeOfDay.split(':').map(Number);
  const next = nextDue({ kind: 'cron', cron: `${minute} ${hour} * * *`, timeZone }, after);
  if (next === undefined) throw new AppError('internal', `no ${timeOfDay} comes in ${timeZone}`);
  return next;
}
