import { describe, expect, it } from 'vitest';
import { groupByAge } from '../../../wamp-agent/presence/signs-of-life.ts';

describe('signs of life', () => {
  it('are never written as later than they came', () => {
    const signs = new Map([
      ['c', 9000],
      ['a', 9999],
      ['b', 9501],
      ['d', 10_000],
    ]);
    expect(groupByAge(signs, 10_000)).toEqual([
      { ageMs: 500, boards: ['a', 'b'] },
      { ageMs: 1000, boards: ['c'] },
      { ageMs: 0, boards: ['d'] },
    ]);
  });

  it('take a statement for each 500 boards', () => {
    const signs = new Map(Array.from({ length: 1001 }, (_, index) => [`board-${index}`, 100]));
    const groups = groupByAge(signs, 100);
    expect(groups.map(({ boards }) => boards.length)).toEqual([500, 500, 1]);
    expect(new Set(groups.flatMap(({ boards }) => boards)).size).toBe(1001);
  });
});
