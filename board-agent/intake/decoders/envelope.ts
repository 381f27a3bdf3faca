/** The common form of messages that are trees (JSON, CBOR): an envelope around data, or data alone. */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Decoded } from '../types.ts';
import { asSequence, undecodable } from './decoder-kind.ts';
import { flatten } from './flatten.ts';
import { parseTime, type TimeUnit, timeUnits } from './times.ts';

/** Options of decoders of trees. */
export interface TreeOptions {
  /** Members that say what the message is of, for messages without the envelope. */
  device?: string;
  seq?: string;
  /** Member with the time of the readings; in an envelope it is `time` by default. */
  time?: string;
  timeUnit?: TimeUnit;
  /** Members that are no readings. */
  ignore: string[];
}

const memberName = { type: 'string', minLength: 1, maxLength: 100 } as const;

export const treeOptionsSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    device: { ...memberName, description: 'Member with the device id, where there is no envelope.' },
    seq: { ...memberName, description: 'Member with the sequence number, where there is no envelope.' },
    time: { ...memberName, description: 'Member with the time of the readings. In an envelope: time.' },
    timeUnit: {
      description: 'Left out: a text is an RFC 3339 time, a number is epoch milliseconds.',
      type: 'string',
      enum: timeUnits,
    },
    ignore: {
      description: 'Members that are no readings, as streams would be called (`tags.room`).',
      type: 'array',
      maxItems: 100,
      items: memberName,
      default: [],
    },
  },
};

const headers: readonly string[] = ['device', 'seq', 'mac', 'time'];

/** `findBytes` gives a member of the envelope as it was sent; called only for an envelope with a mac. */
export function readEnvelope(
  value: unknown,
  options: TreeOptions,
  findBytes: (member: string) => Uint8Array | undefined,
): Decoded {
  if (!isObject(value)) return { readings: flatten(value, options.ignore) };
  const isEnvelope = Object.hasOwn(value, 'data') && headers.some((each) => Object.hasOwn(value, each));
  if (!isEnvelope) return readPlain(value, options);
  const { data, mac } = value;
  const time = options.time ?? 'time';
  const isKnown = (name: string) =>
    name === 'data' || name === time || headers.includes(name) || options.ignore.includes(name);
  const unknown = Object.keys(value).find((name) => !isKnown(name));
  if (unknown !== undefined)
    throw undecodable(
      `'${unknown.slice(0, 60)}' is not a member of the envelope: put it into data, or name it in options.ignore`,
    );
  const names = { device: 'device', seq: 'seq', time };
  const decoded = readHeaders(value, names, options.timeUnit, flatten(data, options.ignore));
  if (!isPresent(mac)) return decoded;
  decoded.mac = asMac(mac);
  const signed = signedBytes(findBytes, isPresent(value[time]) ? time : undefined);
  if (signed) decoded.signed = signed;
  return decoded;
}

/** When it was measured is signed with what was measured: nobody else may say. */
function signedBytes(
  findBytes: (member: string) => Uint8Array | undefined,
  time: string | undefined,
): Uint8Array | undefined {
  const data = findBytes('data');
  const at = time === undefined ? undefined : findBytes(time);
  return data && at ? Buffer.concat([at, Buffer.from('\n'), data]) : data;
}

function readPlain(value: JsonObject, { device, seq, time, timeUnit, ignore }: TreeOptions): Decoded {
  const named = [device, seq, time].filter((each) => each !== undefined);
  return readHeaders(value, { device, seq, time }, timeUnit, flatten(value, [...ignore, ...named]));
}

interface HeaderNames {
  device: string | undefined;
  seq: string | undefined;
  time: string | undefined;
}

function readHeaders(
  value: JsonObject,
  { device, seq, time }: HeaderNames,
  timeUnit: TimeUnit | undefined,
  readings: Decoded['readings'],
): Decoded {
  const at = has(value, time) ? parseTime(value[time], time, timeUnit) : undefined;
  const decoded: Decoded = {
    readings: at === undefined ? readings : readings.map((each) => ({ ...each, at })),
  };
  if (has(value, device)) decoded.device = asDevice(value[device], device);
  if (has(value, seq)) decoded.seq = asSequence(value[seq], seq);
  return decoded;
}

function has(value: JsonObject, name: string | undefined): name is string {
  return name !== undefined && Object.hasOwn(value, name) && isPresent(value[name]);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function asDevice(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  if (Number.isSafeInteger(value)) return String(value);
  throw undecodable(`${name} must be a text or a whole number`);
}

function asMac(value: unknown): string {
  if (typeof value === 'string' && value.length <= 128) return value;
  throw undecodable('mac must be a text of at most 128 characters');
}
