/**
 * The list of channels that slow-control modules publish, e.g. `[{"number":0,"on":1,"vreq":100}]`:
 * streams `ch0.on`, `ch0.vreq`. What says on or off comes as 0 or 1 and becomes a boolean.
 */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Decoded, DecodedReading, DecoderInput } from '../types.ts';
import { type DecoderKind, decoderLimits, undecodable } from './decoder-kind.ts';
import { flatten } from './flatten.ts';
import { readJson } from './text.ts';

interface StatusListOptions {
  key: string;
  prefix: string;
  booleans: string[];
  ignore: string[];
}

/** Of a channel that is a text. */
const longestNumber = 60;

const memberNames = {
  type: 'array',
  maxItems: 100,
  items: { type: 'string', minLength: 1, maxLength: 100 },
} as const;

export const statusListDecoder: DecoderKind = {
  name: 'status-list',
  options: {
    type: 'object',
    additionalProperties: false,
    properties: {
      key: {
        description: 'Member that says which channel it is.',
        type: 'string',
        minLength: 1,
        maxLength: 100,
        default: 'number',
      },
      prefix: {
        description: "Put before the channel's number.",
        type: 'string',
        maxLength: 40,
        default: 'ch',
      },
      booleans: { ...memberNames, description: 'Members whose 0 and 1 are false and true.', default: ['on'] },
      ignore: { ...memberNames, description: 'Members that are no readings.', default: [] },
    },
  },
  decode,
};

function decode({ payload, options }: DecoderInput): Decoded {
  const settings = options as unknown as StatusListOptions;
  const list = readJson(payload);
  if (!Array.isArray(list)) throw undecodable('the payload must be a list of channels');
  const seen = new Set<string>();
  const readings: DecodedReading[] = [];
  for (const [index, channel] of list.entries()) {
    if (typeof channel !== 'object' || channel === null || Array.isArray(channel))
      throw undecodable(`channel ${index} must be an object`);
    const number = readNumber(channel as JsonObject, settings.key, index);
    if (seen.has(number)) throw undecodable(`channel ${number} occurs twice`);
    seen.add(number);
    for (const reading of flatten(channel, [settings.key, ...settings.ignore])) {
      const value = settings.booleans.includes(reading.measurement)
        ? asBoolean(reading.value, `${reading.measurement} of channel ${number}`)
        : reading.value;
      readings.push({ measurement: `${settings.prefix}${number}.${reading.measurement}`, value });
    }
    if (readings.length > decoderLimits.readings)
      throw undecodable(`the message has more than ${decoderLimits.readings} readings`);
  }
  return { readings };
}

function readNumber(channel: JsonObject, key: string, index: number): string {
  const number = Object.hasOwn(channel, key) ? channel[key] : undefined;
  if (Number.isSafeInteger(number)) return String(number);
  if (typeof number === 'string' && number !== '' && number.length <= longestNumber) return number;
  throw undecodable(
    `${key} of channel ${index} must be a whole number, or a text of 1 to ${longestNumber} characters`,
  );
}

function asBoolean(value: unknown, field: string): boolean {
  if (value === 1 || value === true) return true;
  if (value === 0 || value === false) return false;
  throw undecodable(`${field} must be 0, 1, false or true`);
}
