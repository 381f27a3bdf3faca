import { describe, expect, it } from 'vitest';
import {
  checkStreamPattern,
  matchesPattern,
  toLikePattern,
} from '../../../../common/alarms/stream-pattern.ts';

describe('a pattern of stream names', () => {
  it.each([
    ['sensor_1/meas1', 'sensor_1/meas1', true],
    ['sensor_1/meas1', 'sensor_1/meas10', false],
    ['sensor_*/meas1', 'sensor_12/meas1', true],
    ['sensor_*/meas1', 'sensor_/meas1', true],
    ['sensor_*/meas1', 'sensor_1/x/meas1', false],
    ['*/temp', 'a/temp', true],
    ['*/temp', 'a/b/temp', false],
    ['hv/*_v', 'hv/ch0_v', true],
    ['hv/ch*_*', 'hv/ch0_v', true],
    ['a/*b*b', 'a/b', false],
    ['a/*b*b', 'a/bb', true],
    ['a/b*b', 'a/b', false],
    ['a.c/x', 'abc/x', false],
  ])('%s and %s: %s', (pattern, name, expected) => {
    expect(matchesPattern(pattern, name)).toBe(expected);
  });

  it('costs little however many stars it has', () => {
    const startedAt = performance.now();
    for (let round = 0; round < 1000; round += 1)
      matchesPattern('a/*a*a*a*a*a*a*a*a*b', `a/${'a'.repeat(140)}`);
    expect(performance.now() - startedAt).toBeLessThan(500);
  });

  it.each(['', 'meas1', '/meas1', 'sensor/', 'a b/c', 'a/%', 'a/**********x*', `a/${'x'.repeat(150)}`])(
    'refuses %j',
    (pattern) => {
      expect(() => checkStreamPattern(pattern)).toThrow(/^stream must/);
    },
  );

  it('is given to the database with its own signs escaped', () => {
    expect(toLikePattern('hv_1/*_v')).toBe('hv\\_1/%\\_v');
  });
});
