/**
 * A list `value,parity,value,parity,…` of whole numbers in hundredths. With its parity bit a value
 * has an odd number of ones; one that has not is replaced by the mean of its nearest good
 * neighbours, and the stream `replaced` says how many were. The sign has no part in the parity.
 */
import type { Decoded, DecodedReading, DecoderInput } from '../types.ts';
import { type DecoderKind, decoderLimits, undecodable } from './decoder-kind.ts';
import { readText } from './text.ts';

interface CsvOptions {
  /** Of the values, when each is a measurement of its own. */
  names: string[];
  /** The values are one measurement over time, the last one now. */
  intervalMs?: number;
}

export const csvParityDecoder: DecoderKind = {
  name: 'csv-parity',
  options: {
    type: 'object',
    additionalProperties: false,
    properties: {
      names: {
        description:
          'Measurements, in order. Left out: 0, 1, 2, …; with intervalMs the first is the name of all.',
        type: 'array',
        maxItems: decoderLimits.readings,
        items: { type: 'string', minLength: 1, maxLength: 80 },
        default: [],
      },
      intervalMs: {
        description: 'The values are one measurement at this distance in time; the last is of now.',
        type: 'number',
        exclusiveMinimum: 0,
        maximum: 86_400_000,
      },
    },
  },
  decode,
};

function decode({ payload, options, receivedAt }: DecoderInput): Decoded {
  const { names, intervalMs } = options as unknown as CsvOptions;
  const { values, replaced } = repair(readPairs(readText(payload)));
  const called =
    intervalMs === undefined ? values.map((_, index) => names[index] ?? String(index)) : [names[0] ?? ''];
  checkNames(called);
  const readings = values.map((value, index): DecodedReading => {
    if (intervalMs === undefined) return { measurement: called[index] ?? '', value };
    const at = receivedAt - (values.length - 1 - index) * intervalMs;
    return { measurement: called[0] ?? '', value, at: Math.round(at) };
  });
  return { readings: [...readings, { measurement: 'replaced', value: replaced }] };
}

/** Two values must not become one stream. */
function checkNames(called: readonly string[]): void {
  const seen = new Set(['replaced']);
  for (const name of called) {
    if (seen.has(name))
      throw undecodable(`two values are called '${name}': options.names must tell them apart`);
    seen.add(name);
  }
}

/** In hundredths; undefined = the parity is wrong. */
function readPairs(text: string): (number | undefined)[] {
  const fields = text.trim().replace(/,$/, '').split(',');
  // One reading is kept for the count of those that were replaced.
  if (fields.length > 2 * (decoderLimits.readings - 1))
    throw undecodable(`the message has more than ${decoderLimits.readings - 1} values`);
  if (fields.length % 2 !== 0) throw undecodable('the list must have a parity after each value');
  const values: (number | undefined)[] = [];
  for (let index = 0; index < fields.length; index += 2) {
    const value = (fields[index] ?? '').trim();
    const parity = (fields[index + 1] ?? '').trim();
    if (!/^[+-]?[0-9]{1,15}$/.test(value))
      throw undecodable(`value ${index / 2} must be a whole number of at most 15 digits`);
    if (parity !== '0' && parity !== '1')
      throw undecodable(`the parity of value ${index / 2} must be 0 or 1`);
    values.push((countOnes(Number(value)) + Number(parity)) % 2 === 1 ? Number(value) : undefined);
  }
  return values;
}

function countOnes(value: number): number {
  return Math.abs(value).toString(2).replaceAll('0', '').length;
}

function repair(read: readonly (number | undefined)[]): { values: number[]; replaced: number } {
  // Nearest good ones on either side, in one pass each way.
  const before = nearest(read);
  const after = nearest(read.toReversed()).reverse();
  const values = read.map((value, index) => {
    if (value !== undefined) return value / 100;
    const left = before[index] ?? after[index];
    const right = after[index] ?? before[index];
    if (left === undefined || right === undefined) throw undecodable('the parity of every value is wrong');
    return (left + right) / 200;
  });
  return { values, replaced: read.filter((value) => value === undefined).length };
}

function nearest(read: readonly (number | undefined)[]): (number | undefined)[] {
  let last: number | undefined;
  return read.map((value) => {
    last = value ?? last;
    return last;
  });
}
