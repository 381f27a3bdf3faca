import { describe, expect, it } from 'vitest';
import {
  currentRate,
  parseRolloutOptions,
  planWaves,
  releasable,
} from '../../../../common/operations/rollout.ts';

describe('options of a rollout', () => {
  it('are one wave, all successful and without approval, unless said otherwise', () => {
    expect(parseRolloutOptions({})).toEqual({
      waves: [{ percent: 100 }],
      successPercent: 100,
      approval: 'none',
    });
  });

  it('are taken as they are given', () => {
    const options = {
      waves: [{ count: 1 }, { percent: 10 }, { percent: 100 }],
      rate: { perMinute: 60, ramp: { factor: 2, everySucceeded: 50, maxPerMinute: 600 } },
      successPercent: 95,
      abort: { failedPercent: 20, afterEnded: 10 },
      approval: 'each-wave',
    };
    expect(parseRolloutOptions(options)).toEqual(options);
  });

  it.each([
    [{ waves: [] }, 'rollout.waves'],
    [{ waves: [{ count: 1, percent: 1 }] }, 'rollout.waves[0] must have either count or percent'],
    [{ waves: [{}] }, 'rollout.waves[0] must have either count or percent'],
    [{ waves: [{ count: 0 }] }, 'rollout.waves[0].count'],
    [{ waves: [{ percent: 101 }] }, 'rollout.waves[0].percent'],
    [{ rate: { perMinute: 0 } }, 'rollout.rate.perMinute'],
    [
      { rate: { perMinute: 60, ramp: { factor: 2, everySucceeded: 1, maxPerMinute: 30 } } },
      'rollout.rate.ramp.maxPerMinute',
    ],
    [{ abort: { failedPercent: 0 } }, 'rollout.abort.failedPercent'],
    [{ approval: 'maybe' }, 'rollout.approval'],
    [{ wave: 1 }, 'wave'],
  ])('refuses %j', (value, message) => {
    expect(() => parseRolloutOptions(value)).toThrow(
      expect.objectContaining({ code: 'invalid-arguments', message: expect.stringContaining(message) }),
    );
  });
});

describe('planning waves', () => {
  it.each([
    [100, [{ count: 1 }, { percent: 10 }, { percent: 50 }, { percent: 100 }], [1, 10, 50, 39]],
    // The last one takes what is left, whatever it says.
    [100, [{ count: 10 }, { count: 10 }], [10, 90]],
    [3, [{ percent: 1 }, { percent: 1 }, { count: 5 }], [1, 1, 1]],
    // Empty waves are left out.
    [5, [{ count: 10 }, { percent: 50 }], [5]],
    [4, [{ percent: 0 }, { count: 2 }, { count: 1 }], [2, 2]],
    [0, [{ count: 1 }], []],
  ])('puts %i boards in %j as %j', (boards, waves, sizes) => {
    expect(planWaves(boards, { waves })).toEqual(sizes);
  });
});

describe('the rate of a rollout', () => {
  const ramp = { factor: 2, everySucceeded: 10, maxPerMinute: 100 };

  it('rises with successes up to its limit', () => {
    const rates = [0, 9, 10, 25, 1000].map((succeeded) => currentRate({ perMinute: 30, ramp }, succeeded));
    expect(rates).toEqual([30, 30, 60, 100, 100]);
  });

  it('lets all through when there is none', () => {
    const state = { held: 7, succeeded: 0, releasedAt: undefined };
    expect(releasable({}, state, 1000)).toEqual({ count: 7, releasedAt: 1000 });
  });

  it('lets the first through at once and the others in their time, however often it is asked', () => {
    const options = { rate: { perMinute: 600 } };
    let state: { held: number; succeeded: number; releasedAt: number | undefined } = {
      held: 1000,
      succeeded: 0,
      releasedAt: undefined,
    };
    let released = 0;
    for (let now = 1_000_000; now < 1_060_000; now += 37) {
      const { count, releasedAt } = releasable(options, state, now);
      released += count;
      state = { ...state, held: state.held - count, releasedAt };
    }
    expect(released).toBe(600);
  });

  it('does not make up for a time in which nobody was there', () => {
    const options = { rate: { perMinute: 600 } };
    const state = { held: 1000, succeeded: 0, releasedAt: 0 };
    expect(releasable(options, state, 3_600_000).count).toBe(20);
  });

  it('does not gather what it may let through while there is nothing to let through', () => {
    const options = { rate: { perMinute: 6000 } };
    const { releasedAt } = releasable(options, { held: 1, succeeded: 0, releasedAt: 9000 }, 10_000);
    expect(releasable(options, { held: 500, succeeded: 0, releasedAt }, 10_010).count).toBe(1);
  });
});
