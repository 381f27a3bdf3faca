import { describe, expect, it } from 'vitest';
import { parseReadingsBatch, readingsLimits } from '../../../common/wamp/readings.ts';

const epoch = '7f9c24e8-3b12-4fef-91e0-56a2d5a3b1c4';
const streams = [
  { name: 'system/cpu', type: 'number', unit: '%' },
  { name: 'door/open', type: 'boolean', unit: '' },
  { name: 'log/line', type: 'text', unit: '' },
];
const batch = (readings: unknown[], more: object = {}) => ({ epoch, from: 1, streams, readings, ...more });

describe('readings batch', () => {
  it('takes each type of value, and times as old as 1970', () => {
    const readings = [
      [0, 0, 12.5],
      [1, 1_700_000_000_000, false],
      [2, 1_700_000_000_000, 'ok'],
    ];
    expect(parseReadingsBatch(batch(readings)).readings).toEqual(readings);
  });

  it.each([
    [[[0, 1, 'warm']], 'readings[0] must have a value of type number'],
    [[[0, 1, null]], 'readings[0] must have a value of type number'],
    [[[1, 1, 1]], 'readings[0] must have a value of type boolean'],
    [[[2, 1, 'x'.repeat(readingsLimits.textLength + 1)]], 'readings[0] must have a value of type text'],
    [[[3, 1, 1]], 'readings[0] must name a stream by its index'],
    [[['0', 1, 1]], 'readings[0] must name a stream by its index'],
    [[[0, -1, 1]], 'readings[0] must have a time'],
    [[[0, 1.5, 1]], 'readings[0] must have a time'],
    [[[0, 1e17, 1]], 'readings[0] must have a time'],
    [[[0, 1]], 'readings[0] must be [stream, at, value]'],
    [[{}], 'readings[0] must be [stream, at, value]'],
  ])('refuses %j naming the reading', (readings, message) => {
    expect(() => parseReadingsBatch(batch(readings))).toThrow(message);
  });

  it('says its limit', () => {
    const many = Array.from({ length: readingsLimits.batchReadings + 1 }, () => [0, 1, 1]);
    expect(() => parseReadingsBatch(batch(many))).toThrow('readings must have at most 1000 items');
  });

  it('refuses a sequence number below 1 and an epoch that is no uuid', () => {
    expect(() => parseReadingsBatch(batch([], { from: 0 }))).toThrow('from must be from 1');
    expect(() => parseReadingsBatch(batch([], { epoch: 'x' }))).toThrow('epoch must be a uuid');
  });
});
