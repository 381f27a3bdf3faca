import { describe, expect, it } from 'vitest';
import { nextStep, type ScheduleStep } from '../../../../common/operations/schedule-steps.ts';
import type { ScheduleCatchUp, ScheduleTiming } from '../../../../common/wamp/board-schedules.ts';

const minute = 60_000;
const hour = 60 * minute;
const from = Date.UTC(2026, 0, 5);
const everyTenMinutes: ScheduleTiming = { kind: 'interval', everySeconds: 600, from };
const everySecond: ScheduleTiming = { kind: 'interval', everySeconds: 1, from };
const none: ScheduleCatchUp = { mode: 'none', limit: 1 };
const last: ScheduleCatchUp = { mode: 'last', limit: 1 };
const all = (limit: number): ScheduleCatchUp => ({ mode: 'all', limit });

/** All steps that are to be taken at `now`; `clock` moves it on with each. */
function walk(
  timing: ScheduleTiming,
  catchUp: ScheduleCatchUp,
  nextAt: number,
  now: number,
  stepMs = 0,
): { fired: number[]; missed: number; rows: number; nextAt: number | undefined } {
  const done = { fired: [] as number[], missed: 0, rows: 0, nextAt: nextAt as number | undefined };
  for (let at = now; done.nextAt !== undefined; at += stepMs) {
    const step: ScheduleStep | undefined = nextStep(timing, catchUp, done.nextAt, at);
    if (!step) break;
    if (step.kind === 'fire') done.fired.push(step.dueAt);
    else {
      done.missed += step.count;
      done.rows += 1;
    }
    done.nextAt = step.nextAt;
  }
  return done;
}

describe('a schedule', () => {
  it('does nothing before its time', () => {
    expect(nextStep(everyTenMinutes, last, from + 10 * minute, from + 10 * minute - 1)).toBeUndefined();
  });

  it.each([none, last, all(3)])('on time fires each due time, whatever is made up for: %o', (catchUp) => {
    expect(walk(everyTenMinutes, catchUp, from, from)).toEqual({
      fired: [from],
      missed: 0,
      rows: 0,
      nextAt: from + 10 * minute,
    });
    // A conductor that took over after some seconds.
    const { fired, missed } = walk(everySecond, catchUp, from, from + 8000);
    expect([fired.length, missed]).toEqual([9, 0]);
  });

  it('that fires once ends then', () => {
    const once: ScheduleTiming = { kind: 'once', at: from };
    expect(walk(once, none, from, from + 59_000)).toMatchObject({ fired: [from], nextAt: undefined });
    expect(walk(once, last, from, from + hour)).toMatchObject({ fired: [from], nextAt: undefined });
    expect(walk(once, none, from, from + hour)).toEqual({
      fired: [],
      missed: 1,
      rows: 1,
      nextAt: undefined,
    });
  });

  it('that follows a zone fires on the days when the clocks change, once', () => {
    const daily: ScheduleTiming = { kind: 'cron', cron: '30 2 * * *', timeZone: 'Europe/Rome' };
    const spring = Date.UTC(2026, 2, 29, 1, 0);
    expect(walk(daily, last, spring, spring + 5000)).toMatchObject({
      fired: [spring],
      nextAt: Date.UTC(2026, 2, 30, 0, 30),
    });
    const autumn = Date.UTC(2026, 9, 25, 0, 30);
    const { fired, nextAt } = walk(daily, last, autumn, autumn + 1000);
    expect([fired, nextAt]).toEqual([[autumn], Date.UTC(2026, 9, 26, 1, 30)]);
  });
});

describe('after an outage of three hours', () => {
  const now = from + 3 * hour + 5 * minute;

  it('`none` makes up for nothing', () => {
    expect(walk(everyTenMinutes, none, from, now)).toEqual({
      fired: [],
      missed: 19,
      rows: 1,
      nextAt: from + 3 * hour + 10 * minute,
    });
  });

  it('`none` keeps the due time that came a moment ago', () => {
    const { fired, missed } = walk(everyTenMinutes, none, from, from + 3 * hour + 30_000);
    expect([fired, missed]).toEqual([[from + 3 * hour], 18]);
  });

  it('`last` makes up for the last due time only', () => {
    expect(walk(everyTenMinutes, last, from, now)).toEqual({
      fired: [from + 3 * hour],
      missed: 18,
      rows: 1,
      nextAt: from + 3 * hour + 10 * minute,
    });
  });

  it('`all` makes up for the newest so many, oldest first', () => {
    const { fired, missed, rows } = walk(everyTenMinutes, all(4), from, now);
    expect(fired.map((at) => (at - from) / minute)).toEqual([150, 160, 170, 180]);
    expect([missed, rows]).toEqual([15, 1]);
    expect(walk(everyTenMinutes, all(100), from, now)).toMatchObject({ missed: 0, rows: 0 });
    expect(walk(everyTenMinutes, all(100), from, now).fired).toHaveLength(19);
  });

  it('comes to an end and leaves one row also when it is due every second and each step takes time', () => {
    const { fired, missed, rows } = walk(everySecond, all(100), from, now, 20);
    expect(fired.length).toBeGreaterThanOrEqual(99);
    expect(fired.length + missed).toBeGreaterThanOrEqual(3 * 3600);
    expect(rows).toBeLessThan(5);
    expect(walk(everySecond, last, from, now)).toMatchObject({ rows: 1, missed: 11_100 });
  });

  it('counts the missed ones of a fast cron up to a bound', () => {
    const cron: ScheduleTiming = { kind: 'cron', cron: '* * * * * *', timeZone: 'UTC' };
    const startedAt = performance.now();
    const { fired, missed } = walk(cron, last, from, from + 365 * 24 * hour);
    expect(fired).toHaveLength(1);
    expect(missed).toBeGreaterThan(1900);
    expect(performance.now() - startedAt).toBeLessThan(2000);
  });
});
