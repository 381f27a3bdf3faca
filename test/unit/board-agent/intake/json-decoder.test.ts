import { describe, expect, it } from 'vitest';
import { jsonDecoder } from '../../../../board-agent/intake/decoders/json.ts';
import { findMembers } from '../../../../board-agent/intake/decoders/json-members.ts';
import { withDefaults } from '../../../../board-agent/schema-defaults.ts';
import type { JsonObject } from '../../../../common/runtime/guards.ts';

function decode(text: string, options: JsonObject = {}) {
  return jsonDecoder.decode({
    path: 'r',
    payload: Buffer.from(text),
    captures: {},
    receivedAt: 0,
    options: withDefaults(jsonDecoder.options, options) as JsonObject,
  });
}

const valuesOf = (text: string, options?: JsonObject) =>
  Object.fromEntries(decode(text, options).readings.map(({ measurement, value }) => [measurement, value]));

describe('json', () => {
  it('makes every property a stream', () => {
    expect(valuesOf('{"a":{"b":1,"c":[true,"x",null]},"d":null,"e":-0.5}')).toEqual({
      'a.b': 1,
      'a.c.0': true,
      'a.c.1': 'x',
      e: -0.5,
    });
    expect(valuesOf('[{"number":0,"on":1},{"number":1,"on":0}]')).toEqual({
      '0.number': 0,
      '0.on': 1,
      '1.number': 1,
      '1.on': 0,
    });
    expect(valuesOf(' 21.5 ')).toEqual({ '': 21.5 });
    expect(decode('null').readings).toEqual([]);
  });

  it('recognises the envelope', () => {
    const decoded = decode(
      '{"device":"n1","seq":5,"time":"2026-11-28T10:00:00.5Z","data":{"temp":21.5,"hum":40}}',
    );
    const at = Date.UTC(2026, 10, 28, 10, 0, 0, 500);
    expect(decoded).toEqual({
      device: 'n1',
      seq: 5,
      readings: [
        { measurement: 'temp', value: 21.5, at },
        { measurement: 'hum', value: 40, at },
      ],
    });
    expect(valuesOf('{"data":{"x":1}}')).toEqual({ 'data.x': 1 });
    expect(decode('{"device":17,"data":1}').device).toBe('17');
  });

  it.each([
    '{"device":"n1","data":{"temp": 21.50,"s":"},]\\"\\\\"},"seq":5,"mac":"ab"}',
    '{"mac":"ab","d\\u0061ta" : {"temp": 21.50,"s":"},]\\"\\\\"} ,"device":"n1"}',
    '\n{ "mac":"ab",\t"data":{"temp": 21.50,"s":"},]\\"\\\\"}\r\n}',
  ])('gives the signed bytes as they were sent: %s', (text) => {
    const { signed, mac } = decode(text);
    expect(mac).toBe('ab');
    expect(Buffer.from(signed ?? []).toString()).toBe('{"temp": 21.50,"s":"},]\\"\\\\"}');
  });

  it('gives the time among the signed bytes when there is one', () => {
    const { signed } = decode('{"time" : "2026-11-28T10:00:00Z" ,"data": [1],"mac":"ab"}');
    expect(Buffer.from(signed ?? []).toString()).toBe('"2026-11-28T10:00:00Z"\n[1]');
    const named = decode('{"ts":1795860000000,"data":2,"mac":"ab"}', { time: 'ts' });
    expect(Buffer.from(named.signed ?? []).toString()).toBe('1795860000000\n2');
  });

  it.each(['12.5e3', '"a,b}"', 'true', '[1, [2]]', '{}'])('finds %s as a member', (value) => {
    const members = findMembers(Buffer.from(`{"a":${value},"b" : ${value} }`));
    expect(members.map(({ name, bytes }) => [name, Buffer.from(bytes).toString()])).toEqual([
      ['a', value],
      ['b', value],
    ]);
  });

  it('refuses an envelope whose signed member is not clear', () => {
    expect(() => decode('{"mac":"ab","data":{"a":1},"data":{"a":2}}')).toThrow("'data' occurs twice");
  });

  it('takes device, number and time from members that the rule names', () => {
    const options = { device: 'id', seq: 'n', time: 'ts', timeUnit: 's', ignore: ['tags.room'] };
    expect(
      decode('{"id":"n1","n":3,"ts":1700000000.5,"temp":1,"tags":{"room":"a","floor":2}}', options),
    ).toEqual({
      device: 'n1',
      seq: 3,
      readings: [
        { measurement: 'temp', value: 1, at: 1_700_000_000_500 },
        { measurement: 'tags.floor', value: 2, at: 1_700_000_000_500 },
      ],
    });
  });

  it('names the member that the rule names', () => {
    const options = { device: 'id', seq: 'n', time: 'ts' };
    expect(() => decode('{"id":{}}', options)).toThrow('id must be');
    expect(() => decode('{"n":-1}', options)).toThrow('n must be');
    expect(() => decode('{"ts":"x"}', options)).toThrow('ts is not');
  });

  it.each([
    ['', 'the payload is empty'],
    ['{', 'the payload is not JSON'],
    ['{"a":1e999,"device":"x","data":1,"seq":-1}', "'a' is not a member of the envelope"],
    ['{"device":{},"data":1}', 'device must be a text or a whole number'],
    ['{"seq":1.5,"data":1}', 'seq must be a whole number from 0 to 9007199254740991'],
    ['{"seq":-1,"data":1}', 'seq must be a whole number from 0 to 9007199254740991'],
    ['{"seq":9007199254740993,"data":1}', 'seq must be a whole number from 0 to 9007199254740991'],
    ['{"a":{"b":1},"a.b":2}', "two values are called 'a.b'"],
    ['{"":{"a":1},"a":2}', "two values are called 'a'"],
    ['{"mac":1,"data":1}', 'mac must be a text'],
    ['{"time":"yesterday","data":1}', 'time is not an RFC 3339 time'],
    ['{"time":"2026-02-30T00:00:00Z","data":1}', 'time is not an RFC 3339 time'],
    ['{"time":1700000000,"data":1}', 'the wrong unit?'],
    [`${'['.repeat(17)}1${']'.repeat(17)}`, 'is nested deeper than 16 levels'],
    [`${'['.repeat(100_000)}1${']'.repeat(100_000)}`, 'is nested deeper than 16 levels'],
    [`[${'1,'.repeat(1000)}1]`, 'more than 1000 readings'],
  ])('refuses %.40s', (text, reason) => {
    expect(() => decode(text)).toThrow(expect.objectContaining({ code: 'invalid-arguments' }));
    expect(() => decode(text)).toThrow(reason);
  });
});
