/** The common form of messages that are trees (JSON, CBOR): an envelope around data, or data alone. */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Decoded } from '../types.ts';
import { undecodable } from './decoder-kind.ts';
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

/** `findSigned` gives the bytes of the envelope's data as sent; called only for an envelope with a mac. */
export function readEnvelope(
  value: unknown,
  options: TreeOptions,
  findSigned: () => Uint8Array | undefined,
): Decoded {
  if (!isObject(value)) return { readings: flatten(value, options.ignore) };
  const isEnvelope = Object.hasOwn(value, 'data') && headers.some((each) => Object.hasOwn(value, each));
  if (!isEnvelope) return readPlain(value, options);
  const { data, device, seq, mac } = value;
  const time = options.time ?? 'time';
  const isKnown = (name: string) =>
    name === 'data' || name === time || headers.includes(name) || options.ignore.includes(name);
  const unknown = Object.keys(value).find((name) => !isKnown(name));
  if (unknown !== undefined)
    throw undecodable(
      `'${unknown.slice(0, 60)}' is not a member of the envelope: put it into data, or name it in options.ignore`,
    );
  const decoded = headersOf(
    { device, seq, time: value[time] },
    options.timeUnit,
    flatten(data, options.ignore),
  );
  if (!isPresent(mac)) return decoded;
  decoded.mac = asMac(mac);
  const signed = findSigned();
  if (signed) decoded.signed = signed;
  return decoded;
}

function readPlain(value: JsonObject, options: TreeOptions): Decoded {
  const take = (name: string | undefined) =>
    name !== undefined && Object.hasOwn(value, name) ? value[name] : undefined;
  const named = [options.device, options.seq, options.time].filter((each) => each !== undefined);
  return headersOf(
    { device: take(options.device), seq: take(options.seq), time: take(options.time) },
    options.timeUnit,
    flatten(value, [...options.ignore, ...named]),
  );
}

function headersOf(
  { device, seq, time }: { device?: unknown; seq?: unknown; time?: unknown },
  timeUnit: TimeUnit | undefined,
  readings: Decoded['readings'],
): Decoded {
  const at = isPresent(time) ? parseTime(time, 'time', timeUnit) : undefined;
  const decoded: Decoded = {
    readings: at === undefined ? readings : readings.map((each) => ({ ...each, at })),
  };
  if (isPresent(device)) decoded.device = asDevice(device);
  if (isPresent(seq)) decoded.seq = asSequence(seq);
  return decoded;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function asDevice(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Number.isSafeInteger(value)) return String(value);
  throw undecodable('device must be a text or a whole number');
}

function asSequence(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw undecodable('seq must be a whole number, not negative');
}

function asMac(value: unknown): string {
  if (typeof value === 'string' && value.length <= 128) return value;
  throw undecodable('mac must be a text of at most 128 characters');
}
