import { describe, expect, it } from 'vitest';
import { chooseWidth, countBuckets, planParts } from '../../../../api/readings/bucket-plan.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const base = Date.UTC(2026, 0, 1);
const window = (fromAt: number, toAt: number) => ({ fromAt: base + fromAt, toAt: base + toAt });
const shape = (parts: ReturnType<typeof planParts>) =>
  parts.map(({ source, fromAt, toAt }) => [source, fromAt - base, toAt - base]);

describe('the width of buckets', () => {
  it('is the smallest one that a person would choose', () => {
    expect(chooseWidth(window(0, 365 * day), 1000)).toBe(12 * hour);
    expect(chooseWidth(window(0, day), 1440)).toBe(minute);
    expect(chooseWidth(window(0, hour), 1000)).toBe(5000);
    expect(chooseWidth(window(0, 50), 1000)).toBe(1);
  });

  it('never makes more buckets than asked for, wherever the window begins', () => {
    for (const span of [1, 999, hour - 1, 33 * hour + 7, 90 * day + 1, 4000 * day])
      for (const offset of [0, 1, 123_456_789])
        for (const maxPoints of [1, 2, 7, 1000, 5000]) {
          const asked = window(offset, offset + span);
          expect(countBuckets(asked, chooseWidth(asked, maxPoints))).toBeLessThanOrEqual(maxPoints);
        }
  });
});

describe('the parts of a window', () => {
  it('come from the coarsest rollups that they fill, the edges from finer ones and from raw', () => {
    const asked = window(hour - 90_000, 3 * hour + 10 * minute + 5);
    expect(shape(planParts(asked, 2 * hour, []))).toEqual([
      ['raw', hour - 90_000, hour - minute],
      [60, hour - minute, hour],
      [3600, hour, 3 * hour],
      [60, 3 * hour, 3 * hour + 10 * minute],
      ['raw', 3 * hour + 10 * minute, 3 * hour + 10 * minute + 5],
    ]);
  });

  it('of a fine width never use a rollup that is wider', () => {
    expect(shape(planParts(window(0, 2 * hour), 5 * minute, []))).toEqual([[60, 0, 2 * hour]]);
    expect(shape(planParts(window(0, 2 * hour), 90_000, [base]))).toEqual([['raw', 0, 2 * hour]]);
  });

  it('that are dirty come from raw, and neighbours are read as one range', () => {
    const dirty = [3, 2, 9].map((each) => base + each * hour);
    expect(shape(planParts(window(0, 9 * hour + 1), hour, dirty))).toEqual([
      [3600, 0, 2 * hour],
      ['raw', 2 * hour, 4 * hour],
      [3600, 4 * hour, 9 * hour],
      ['raw', 9 * hour, 9 * hour + 1],
    ]);
  });

  it('cover every moment exactly once', () => {
    for (let round = 0; round < 200; round += 1) {
      const from = Math.floor(Math.random() * 3 * hour);
      const asked = window(from, from + 1 + Math.floor(Math.random() * 30 * hour));
      const dirty = Array.from({ length: 6 }, () => base + Math.floor(Math.random() * 30) * hour);
      const width = [500, minute, 5 * minute, hour, 6 * hour][round % 5] ?? hour;
      let at = asked.fromAt;
      for (const part of planParts(asked, width, [...new Set(dirty)])) {
        expect(part.fromAt).toBe(at);
        expect(part.toAt).toBeGreaterThan(part.fromAt);
        at = part.toAt;
      }
      expect(at).toBe(asked.toAt);
    }
  });
});
