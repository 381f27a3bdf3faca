import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../../board-agent/settings.ts';
import { takes, toFilter, withoutOverlap } from '../../../board-agent/sources/mqtt/topics.ts';

describe('topic filters of MQTT', () => {
  it('are made of the patterns of rules', () => {
    expect(toFilter('/{module}/status')).toBe('/+/status');
    expect(toFilter('sensors/{module}-{measurement}/#')).toBe('sensors/+/#');
  });

  it.each([
    ['a/b', 'a/b', true],
    ['a/+', 'a/b', true],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['#', 'a/b', true],
    ['#', '$SYS/broker/uptime', false],
    ['+/broker/uptime', '$SYS/broker/uptime', false],
    ['$SYS/#', '$SYS/broker/uptime', true],
    ['$share/g/a/+', 'a/b', true],
    ['$share/g/a/+', '$share/g/a/b', false],
    ['$share/g/#', '$SYS/x', false],
  ])('%s with %s: %s', (filter, topic, fits) => {
    expect(takes(filter, topic)).toBe(fits);
  });

  it.each([
    [['a/b', 'a/b'], ['a/b']],
    [['a/b', 'a/+', 'a/#'], ['a/#']],
    [['a/#', 'a/b'], ['a/#']],
    [['a', 'a/#'], ['a/#']],
    [['a/+/c', 'a/b/+'], ['a/+/+']],
    [['a/b/#', 'a/+/c'], ['a/+/#']],
    // What is widened may overlap with what did not before.
    [
      ['x/y/z', 'a/+/c', '+/b/c'],
      ['x/y/z', '+/+/c'],
    ],
    [['x/y/c', 'a/+/c', '+/b/c'], ['+/+/c']],
    [
      ['a/b', 'a/c', 'a', '/a/b'],
      ['a/b', 'a/c', 'a', '/a/b'],
    ],
    [
      ['#', '$SYS/#'],
      ['#', '$SYS/#'],
    ],
    [
      ['+/x', '$SYS/x'],
      ['+/x', '$SYS/x'],
    ],
    [['$share/g/a/+/c', '$share/g/a/b/+'], ['$share/g/a/+/+']],
    [
      ['$share/g/a/#', '$share/h/a/#'],
      ['$share/g/a/#', '$share/h/a/#'],
    ],
  ])('of %j no topic comes twice: %j', (filters, disjoint) => {
    expect(withoutOverlap(filters)).toEqual(disjoint);
  });

  it.each([
    [{ topics: ['a/b#'] }, '/sources/0/topics/0 must have + as a segment of its own'],
    [{ topics: ['$share/g'] }, '/sources/0/topics/0 must name a group and a filter'],
    [{ topics: ['$share/+/a'] }, '/sources/0/topics/0 must name a group and a filter'],
    [{ topics: ['a/#', '$share/g/a/b'] }, '/sources/0/topics/1 takes messages that come by another one'],
    [
      { rules: [{ match: '$share/g/{module}', decoder: 'json' }] },
      '/sources/0/rules/0/match must be a topic',
    ],
  ])('are checked with the settings: %j', (more, fault) => {
    const source = { kind: 'mqtt', urls: ['mqtt://h'], rules: [{ match: 'r', decoder: 'json' }], ...more };
    expect(() => parseSettings({ sources: [source] })).toThrow(fault);
  });
});
