/**
 * What a schedule does next, one step at a time: which due time makes an operation, and which ones were
 * missed. Pure. Each step is written in one transaction with the due time that comes after it, so that
 * whoever goes on, after a kill at any point, goes on right there.
 */
import { onTimeMs, type ScheduleCatchUp, type ScheduleTiming } from '../wamp/board-schedules.ts';
import { listDue, nextDue } from './schedule-times.ts';

/** More than that cannot come in the time that counts as on time. */
const mostOnTime = onTimeMs / 1000 + 1;

export type ScheduleStep =
  | {
      kind: 'fire';
      /** Epoch milliseconds. */
      dueAt: number;
      /** It is made up for, after an outage. */
      isLate: boolean;
      /** The due time to look at then; undefined = there is none any more. */
      nextAt: number | undefined;
    }
  | {
      kind: 'miss';
      /** The first and the last of them. */
      firstAt: number;
      dueAt: number;
      /** How many; of a cron that was missed often, at least so many. */
      count: number;
      nextAt: number | undefined;
    };

/**
 * @param nextAt the due time that comes next, as the step before gave it
 * @returns undefined while it has not come
 */
export function nextStep(
  timing: ScheduleTiming,
  catchUp: ScheduleCatchUp,
  nextAt: number,
  now: number,
): ScheduleStep | undefined {
  if (nextAt > now) return undefined;
  const isLate = now - nextAt > onTimeMs;
  if (!isLate) return { kind: 'fire', dueAt: nextAt, isLate, nextAt: nextDue(timing, nextAt) };

  const wanted = catchUp.mode === 'all' ? catchUp.limit : 1;
  const { due, skipped } = listDue(timing, nextAt - 1, now, Math.max(wanted, mostOnTime) + 1);
  const made = due.slice(-wanted).filter((at) => catchUp.mode !== 'none' || now - at <= onTimeMs);
  const [first] = made;
  const missed = due.slice(0, due.length - made.length);
  const last = missed.at(-1);
  if (last !== undefined)
    return {
      kind: 'miss',
      firstAt: nextAt,
      dueAt: last,
      count: skipped + missed.length,
      nextAt: first ?? nextDue(timing, now),
    };
  // Nothing is due at it: the timing was changed behind our back.
  if (first === undefined)
    return { kind: 'miss', firstAt: nextAt, dueAt: nextAt, count: 1, nextAt: nextDue(timing, now) };
  return { kind: 'fire', dueAt: first, isLate: now - first > onTimeMs, nextAt: nextDue(timing, first) };
}
