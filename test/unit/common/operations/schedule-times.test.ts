import { describe, expect, it } from 'vitest';
import { checkTiming, listDue, nextDue, timingLimits } from '../../../../common/operations/schedule-times.ts';
import type { ScheduleTiming } from '../../../../common/wamp/board-schedules.ts';

const at = (text: string) => Date.parse(text);
const rome = (cron: string): ScheduleTiming => ({ kind: 'cron', cron, timeZone: 'Europe/Rome' });
const texts = (times: number[]) => times.map((each) => new Date(each).toISOString());
const now = at('2026-11-25T12:00:00Z');
const hourMs = 3_600_000;

function between(timing: ScheduleTiming, from: string, to: string): string[] {
  return texts(listDue(timing, at(from), at(to), 1000).due);
}

describe('checking a timing', () => {
  it.each([
    [rome('61 * * * *'), 'timing.cron does not parse: the minute "61"'],
    [rome('0 25 * * *'), 'timing.cron does not parse: the hour "25"'],
    [rome('0 0 32 * *'), 'timing.cron does not parse: the day of the month "32"'],
    [rome('0 0 * 13 *'), 'timing.cron does not parse: the month "13"'],
    [rome('0 0 * * XYZ'), 'timing.cron does not parse: the day of the week "XYZ"'],
    [rome('61 0 0 * * *'), 'timing.cron does not parse: the second "61"'],
    [rome('? * * * *'), 'timing.cron does not parse: the minute "?"'],
    [rome('hourly'), 'timing.cron must have 5 fields, or 6 with seconds in front, not 1'],
    [rome('0 0 0 * * * *'), 'timing.cron must have 5 fields, or 6 with seconds in front, not 7'],
    [rome('0 0 30 2 *'), 'timing.cron "0 0 30 2 *" is never due'],
    [
      { kind: 'cron', cron: '0 0 * * *', timeZone: 'Europe/Nowhere' } as const,
      'timing.timeZone "Europe/Nowhere" is not a known time zone',
    ],
    [
      { kind: 'cron', cron: '0 0 * * *', timeZone: '+02:00' } as const,
      'timing.timeZone "+02:00" is not a known time zone',
    ],
    [
      { kind: 'interval', everySeconds: 0, from: 0 } as const,
      'timing.everySeconds must be a whole number from 1 to 31536000',
    ],
    [
      { kind: 'interval', everySeconds: 31_536_001, from: 0 } as const,
      'timing.everySeconds must be a whole number from 1 to 31536000',
    ],
    [{ kind: 'once', at: now } as const, 'timing.at is in the past'],
  ])('refuses %j with a sentence that names the field', (timing, message) => {
    expect(() => checkTiming(timing, now)).toThrow(
      expect.objectContaining({ code: 'invalid-arguments', message }),
    );
  });

  it.each([
    rome('30 2 * * *'),
    rome('*/10 * * * * *'),
    rome('0 8-18/2 * JAN-JUN MON-FRI'),
    rome('0 0 29 2 *'),
    rome('0 0 L * *'),
    { kind: 'interval', everySeconds: 60, from: now } as const,
    { kind: 'once', at: now + 1 } as const,
  ])('takes %j', (timing) => {
    expect(() => checkTiming(timing, now)).not.toThrow();
  });
});

describe('the next due time', () => {
  it('is strictly after the moment that is asked about', () => {
    const daily = rome('0 8 * * *');
    const eight = at('2026-11-25T07:00:00Z');
    expect(nextDue(daily, eight - 1)).toBe(eight);
    expect(nextDue(daily, eight)).toBe(eight + 24 * hourMs);
    expect(nextDue({ kind: 'once', at: eight }, eight - 1)).toBe(eight);
    expect(nextDue({ kind: 'once', at: eight }, eight)).toBeUndefined();
  });

  it('of an interval counts from its start, the start included', () => {
    const timing = { kind: 'interval', everySeconds: 60, from: 100_000 } as const;
    expect(nextDue(timing, 0)).toBe(100_000);
    expect(nextDue(timing, 99_999)).toBe(100_000);
    expect(nextDue(timing, 100_000)).toBe(160_000);
    expect(nextDue(timing, 159_999)).toBe(160_000);
  });

  it('of a cron with six fields has seconds', () => {
    expect(nextDue(rome('*/10 * * * * *'), now + 1)).toBe(now + 10_000);
  });
});

describe('when the clocks change in Rome', () => {
  it('a time that does not exist in spring is due once, right after the gap', () => {
    expect(between(rome('30 2 * * *'), '2026-03-28T00:00:00Z', '2026-03-30T12:00:00Z')).toEqual([
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ]);
  });

  it('a time that exists twice in autumn is due the first time only', () => {
    expect(between(rome('30 2 * * *'), '2026-10-24T00:00:00Z', '2026-10-26T12:00:00Z')).toEqual([
      '2026-10-24T00:30:00.000Z',
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ]);
    expect(nextDue(rome('30 2 * * *'), at('2026-10-25T00:45:00Z'))).toBe(at('2026-10-26T01:30:00Z'));
  });

  it('a list of times keeps to the same rule', () => {
    expect(between(rome('0,30 2,4 * * *'), '2026-10-24T22:00:00Z', '2026-10-25T22:00:00Z')).toHaveLength(4);
  });

  it('what is due every hour stays due every real hour', () => {
    expect(between(rome('30 * * * *'), '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z')).toHaveLength(23);
    expect(between(rome('30 * * * *'), '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z')).toHaveLength(25);
  });

  it.each(['2026-03-29', '2026-10-25'])('an interval is not affected on %s', (day) => {
    const timing = { kind: 'interval', everySeconds: 1800, from: at(`${day}T00:00:00Z`) } as const;
    const { due } = listDue(timing, at(`${day}T00:00:00Z`), at(`${day}T06:00:00Z`), 1000);
    expect(due).toHaveLength(12);
    expect(new Set(due.slice(1).map((each, index) => each - due[index]!))).toEqual(new Set([1_800_000]));
  });
});

describe('listing due times', () => {
  it('keeps the newest and counts the others, the oldest first', () => {
    const timing = rome('0 * * * *');
    const { due, skipped } = listDue(timing, now, now + 10 * hourMs, 3);
    expect(due).toEqual([8, 9, 10].map((each) => now + each * hourMs));
    expect(skipped).toBe(7);
  });

  it('leaves out its beginning and takes its end', () => {
    const timing = { kind: 'interval', everySeconds: 60, from: 0 } as const;
    expect(listDue(timing, 60_000, 180_000, 10)).toEqual({ due: [120_000, 180_000], skipped: 0 });
    expect(listDue(timing, 60_000, 60_000, 10)).toEqual({ due: [], skipped: 0 });
    expect(listDue(timing, 120_000, 60_000, 10)).toEqual({ due: [], skipped: 0 });
    expect(listDue(timing, 0, 180_000, 0)).toEqual({ due: [], skipped: 3 });
  });

  it('is quick after a year of a cron that is due every second, and counts within bounds', () => {
    const startedAt = performance.now();
    const { due, skipped } = listDue(rome('* * * * * *'), now - 365 * 24 * hourMs, now, 5);
    expect(due).toEqual([4, 3, 2, 1, 0].map((each) => now - each * 1000));
    expect(skipped).toBe(timingLimits.countedSkips);
    expect(performance.now() - startedAt).toBeLessThan(2000);
  });

  it('counts all that an interval has skipped', () => {
    const timing = { kind: 'interval', everySeconds: 1, from: 0 } as const;
    expect(listDue(timing, 0, 31_536_000_000, 1)).toEqual({ due: [31_536_000_000], skipped: 31_535_999 });
  });

  it('finds a single due time long ago', () => {
    expect(listDue({ kind: 'once', at: 5 }, 0, now, 3)).toEqual({ due: [5], skipped: 0 });
    expect(listDue(rome('0 0 1 1 *'), at('2020-06-01T00:00:00Z'), now, 2).skipped).toBe(4);
  });
});
