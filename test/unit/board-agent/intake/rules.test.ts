import { describe, expect, it } from 'vitest';
import { createPrepare, type Prepared } from '../../../../board-agent/intake/prepare.ts';
import { checkRules, compileRules } from '../../../../board-agent/intake/rules.ts';
import type { RawMessage, RuleSettings } from '../../../../board-agent/intake/types.ts';
import { ConfigError } from '../../../../common/runtime/config.ts';

const receivedAt = Date.UTC(2026, 10, 28);

function prepare(rules: RuleSettings[], path: string, payload: unknown, more: Partial<RawMessage> = {}) {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return createPrepare(compileRules(rules))({ path, payload: Buffer.from(text), ...more }, receivedAt);
}

function streamsOf(prepared: Prepared): Record<string, unknown> {
  if ('dead' in prepared) throw new Error(prepared.detail);
  return Object.fromEntries(prepared.readings.map(({ stream, value }) => [stream.name, value]));
}

const json = (match: string, more: Partial<RuleSettings> = {}): RuleSettings => ({
  match,
  decoder: 'json',
  ...more,
});

describe('rules', () => {
  it('take the first that fits', () => {
    const rules = [
      json('/hv/status', { module: 'first' }),
      json('/{module}/status'),
      json('#', { module: 'last' }),
    ];
    expect(streamsOf(prepare(rules, 'hv/status', { on: true }))).toEqual({ 'first/on': true });
    expect(streamsOf(prepare(rules, 'lv/status', { on: true }))).toEqual({ 'lv/on': true });
    expect(streamsOf(prepare(rules, 'else', { on: true }))).toEqual({ 'last/on': true });
  });

  it('name the measurement by the path as well', () => {
    const rules = [json('{module}/{measurement}', { prefix: 'env.' })];
    expect(streamsOf(prepare(rules, 'n1/temp', '21.5'))).toEqual({ 'n1/env.temp': 21.5 });
    expect(streamsOf(prepare(rules, 'n1/temp', { min: 1, max: 2 }))).toEqual({
      'n1/env.temp.min': 1,
      'n1/env.temp.max': 2,
    });
    expect(streamsOf(prepare([json('{module}')], 'n1', '21.5'))).toEqual({ 'n1/value': 21.5 });
  });

  it('say what unit a measurement has, by either of its names', () => {
    const rules = [json('{module}', { prefix: 'p.', units: { temp: 'Cel', 'p.hum': '%' } })];
    const prepared = prepare(rules, 'n1', { temp: 1, hum: 2, toString: 3 });
    if ('dead' in prepared) throw new Error(prepared.detail);
    expect(prepared.readings.map(({ stream }) => stream.unit)).toEqual(['Cel', '%', '']);
  });

  it.each([
    ['the path and the message', '{module}', { device: 'n2', data: { a: 1 } }, undefined],
    ['the message and its transport', '#', { device: 'n2', data: { a: 1 } }, { device: 'n1' }],
    ['the path and the transport', '{module}', { a: 1 }, { device: 'n2' }],
  ])('refuse a message where %s name different devices', (_, match, payload, fields) => {
    const prepared = prepare([json(match)], 'n1', payload, { ...(fields && { fields }) });
    expect(prepared).toMatchObject({ dead: 'undecodable', detail: expect.stringContaining("'n2'") });
  });

  it('make names of properties fit for streams, and refuse two that become one', () => {
    const rules = [json('{module}')];
    expect(streamsOf(prepare(rules, 'n1', { 'temp °C': 1, '.x': 2, __proto__x: 3 }))).toEqual({
      'n1/temp__C': 1,
      'n1/_.x': 2,
      'n1/__proto__x': 3,
    });
    expect(prepare(rules, 'n1', { 'a b': 1, a_b: 2 })).toMatchObject({
      dead: 'undecodable',
      detail: "json: 'a b' and 'a_b' would be the same stream",
    });
    expect(prepare(rules, 'n1', { ['x'.repeat(200)]: 1 })).toMatchObject({ dead: 'undecodable' });
  });

  it.each(['two words', 'a/b', '', '-x', 'x'.repeat(61)])('refuse the device id %j', (device) => {
    expect(prepare([json('#')], 'r', { device, data: { a: 1 } })).toMatchObject({
      dead: 'undecodable',
      detail: expect.stringContaining('is no name of a module'),
    });
  });

  it('say that no rule fits', () => {
    expect(prepare([json('a')], 'b', {})).toEqual({ dead: 'unmatched', detail: "no rule fits 'b'" });
  });

  it('report all their faults at once, with pointers', () => {
    const rules = [
      json('a/#/b'),
      { match: 'x', decoder: 'jsn' },
      json('y', { options: { ignore: 'tags', timeUnit: 'h', what: 1 } }),
    ];
    const pointers = checkRules(rules, '/sources/1').map((each) => each.pointer);
    expect(pointers).toEqual([
      '/sources/1/rules/0/match',
      '/sources/1/rules/1/decoder',
      '/sources/1/rules/2/options/ignore',
      '/sources/1/rules/2/options/timeUnit',
      '/sources/1/rules/2/options/what',
    ]);
    expect(() => compileRules(rules)).toThrow(ConfigError);
    expect(() => compileRules(rules)).toThrow(/\/rules\/1\/decoder must be one of .*; not 'jsn'/);
  });
});
