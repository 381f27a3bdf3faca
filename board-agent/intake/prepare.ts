/**
 * The part of a message's way that needs nothing but the rules: rule → decoder → names. Pure, so
 * that `explain` shows what the running agent would do.
 */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { moduleNameLength, moduleNamePattern } from '../../common/wamp/modules.ts';
import {
  latestAt,
  parseStream,
  type ReadingType,
  readingsLimits,
  type StreamDeclaration,
} from '../../common/wamp/readings.ts';
import type { Reading } from '../spool/reading.ts';
import { decoderLimits } from './decoders/decoder-kind.ts';
import { longestPath } from './pattern.ts';
import type { CompiledRule, FindRule } from './rules.ts';
import type { DeadReason, Decoded, DecodedReading, RawMessage } from './types.ts';

export interface PreparedMessage {
  /** Whose message it is: sequence, mac and rate are this module's. */
  device: string;
  /** All modules that it has readings of, the device first. */
  modules: string[];
  seq?: number;
  mac?: string;
  /** What the mac covers beside device and number. */
  signed: Uint8Array;
  readings: Reading[];
}

export type Prepared = PreparedMessage | { dead: DeadReason; detail: string };

export const messageLimits = { ...decoderLimits, pathLength: longestPath } as const;

export type Prepare = (message: RawMessage, receivedAt: number) => Prepared;

/** The result never throws. */
export function createPrepare(findRule: FindRule): Prepare {
  const declare = createDeclare();

  function decode(found: CompiledRule, message: RawMessage, receivedAt: number): Prepared {
    const { path, payload, contentType } = message;
    const decoded = found.decode({
      path,
      payload,
      captures: found.captures,
      receivedAt,
      options: found.rule.options ?? {},
      ...(contentType !== undefined && { contentType }),
    });
    return nameReadings(decoded, { ...found, message, receivedAt, declare });
  }

  return (message, receivedAt) => {
    const found = findRule(message.path);
    if (!found) return { dead: 'unmatched', detail: `no rule fits '${message.path.slice(0, 200)}'` };
    try {
      return decode(found, message, receivedAt);
    } catch (error) {
      return { dead: 'undecodable', detail: `${found.rule.decoder}: ${messageOf(error)}` };
    }
  };
}

interface Naming extends CompiledRule {
  message: RawMessage;
  receivedAt: number;
  declare: Declare;
}

function nameReadings(decoded: Decoded, naming: Naming): Prepared {
  const fields = naming.message.fields ?? {};
  const named = findDevice(decoded, naming);
  const device = named ?? decoded.readings.find((each) => each.module !== undefined)?.module;
  if (device === undefined) fail('neither message nor rule names a module');
  if (decoded.readings.length > messageLimits.readings)
    fail(`it has more than ${messageLimits.readings} readings`);
  // A device that is known by its topic or envelope gives readings of itself only: what its names
  // say beyond that becomes a part of the measurement.
  const readings = decoded.readings.map((each) =>
    named === undefined || each.module === undefined || each.module === named
      ? each
      : { ...each, module: named, measurement: `${each.module}/${each.measurement}` },
  );
  const modules = [device];
  for (const { module = device } of readings) if (!modules.includes(module)) modules.push(module);
  for (const module of modules) checkModule(module);
  checkNames(readings);
  const prepared: PreparedMessage = {
    device,
    modules,
    signed: decoded.signed ?? naming.message.payload,
    readings: readings.map((each) => toReading(each, each.module ?? device, naming)),
  };
  const seq = decoded.seq ?? parseSeq(fields.seq);
  const mac = decoded.mac ?? fields.mac;
  if (seq !== undefined) prepared.seq = checkSeq(seq);
  if (mac !== undefined) prepared.mac = mac;
  return prepared;
}

/** Path and message must not contradict each other: a broker may let a device write its own topics only. */
function findDevice(decoded: Decoded, { rule, captures, message }: Naming): string | undefined {
  let named: string | undefined;
  for (const each of [captures.module ?? captures.device, decoded.device, message.fields?.device]) {
    if (each === undefined || each === named) continue;
    if (named !== undefined) fail(`it is of '${named.slice(0, 60)}' and of '${each.slice(0, 60)}'`);
    named = each;
  }
  return named ?? rule.module;
}

function fail(rule: string): never {
  throw new AppError('invalid-arguments', rule);
}

function checkModule(name: string): void {
  if (typeof name !== 'string' || name.length > moduleNameLength || !moduleNamePattern.test(name))
    fail(
      `'${String(name).slice(0, 100)}' is no name of a module (${moduleNamePattern.source}, at most ${moduleNameLength})`,
    );
}

function parseSeq(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  return /^[0-9]{1,16}$/.test(text) ? Number(text) : checkSeq(Number.NaN);
}

function checkSeq(seq: number): number {
  if (Number.isSafeInteger(seq) && seq >= 0) return seq;
  return fail(`seq must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
}

function toReading(reading: DecodedReading, module: string, naming: Naming): Reading {
  const { rule, captures, receivedAt, declare } = naming;
  const { value } = reading;
  const measurement = (rule.prefix ?? '') + cleanName(joined(captures.measurement, reading.measurement));
  const name = `${module}/${measurement}`;
  const at = Math.round(reading.at ?? receivedAt);
  if (!(at >= 0 && at <= latestAt)) fail(`the time of '${name}' must be between the years 1970 and 9999`);
  const type = typeOf(value);
  if (type === undefined) fail(`'${name}' must be a number, text, true or false`);
  if (typeof value === 'number' && !Number.isFinite(value)) fail(`'${name}' must be a finite number`);
  if (typeof value === 'string' && (value.length > readingsLimits.textLength || !value.isWellFormed()))
    fail(`'${name}' must be well-formed text of at most ${readingsLimits.textLength} characters`);
  const unit =
    findUnit(rule.units, measurement) ?? findUnit(rule.units, reading.measurement) ?? reading.unit ?? '';
  return { stream: declare(name, type, unit), at, value };
}

function joined(captured = '', own: string): string {
  return captured !== '' && own !== '' ? `${captured}.${own}` : captured || own || 'value';
}

function findUnit(units: Record<string, string> = {}, measurement: string): string | undefined {
  return Object.hasOwn(units, measurement) ? units[measurement] : undefined;
}

const unclean = /^[^A-Za-z0-9_]|[^A-Za-z0-9_./:-]/;

/** `temp °C` → `temp__C`: what a stream's name may not have becomes `_`. */
function cleanName(name: string): string {
  if (!unclean.test(name)) return name;
  return name.replaceAll(/[^A-Za-z0-9_./:-]/gu, '_').replace(/^(?=[./:-])/, '_');
}

/** Two properties must not become one stream. */
function checkNames(readings: readonly DecodedReading[]): void {
  if (!readings.some(({ measurement }) => unclean.test(measurement))) return;
  const names = new Map<string, string>();
  for (const { module, measurement } of readings) {
    const key = `${module ?? ''} ${cleanName(measurement)}`;
    const known = names.get(key) ?? measurement;
    if (known !== measurement)
      fail(`'${known.slice(0, 60)}' and '${measurement.slice(0, 60)}' would be the same stream`);
    names.set(key, measurement);
  }
}

function typeOf(value: unknown): ReadingType | undefined {
  if (typeof value === 'number') return 'number';
  if (typeof value === 'boolean') return 'boolean';
  return typeof value === 'string' ? 'text' : undefined;
}

type Declare = (name: string, type: ReadingType, unit: string) => StreamDeclaration;

const maxChecked = 10_000;

/** Remembers what was checked: the next reading of a stream costs a look-up. */
function createDeclare(): Declare {
  let checked = new Map<string, StreamDeclaration>();
  return (name, type, unit) => {
    const known = checked.get(name);
    if (known && known.type === type && known.unit === unit) return known;
    const stream = parseStream({ name, type, unit }, `stream '${name.slice(0, 200)}'`);
    if (checked.size >= maxChecked) checked = new Map();
    checked.set(name, stream);
    return stream;
  };
}
