/**
 * A decoder of the user's own: `file:<path>`, an ES module with `export function decode(input)`.
 * It is trusted as the settings are: it runs in the agent's process with the agent's rights, and
 * nothing can stop one that never returns. What it gives is checked; how long it takes is told.
 */
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { AppError, messageOf } from '../../../common/runtime/app-error.ts';
import {
  asArray,
  asInteger,
  asNumber,
  asObject,
  asString,
  optional,
} from '../../../common/runtime/guards.ts';
import type { Decoded, DecodedReading, Decoder } from '../types.ts';
import { type DecoderKind, decoderLimits, undecodable } from './decoder-kind.ts';

export const filePrefix = 'file:';

/** Longer is told once a minute at most, and counted. */
const fileBudgetMs = 50;

const load = createRequire(import.meta.url);

export interface SlowDecoder {
  decoder: string;
  tookMs: number;
  /** Slow messages of it so far. */
  count: number;
}

/** Throws Error with what is wrong with the file. */
export function loadFileDecoder(name: string, onSlow?: (slow: SlowDecoder) => void): DecoderKind {
  const path = name.slice(filePrefix.length);
  if (!isAbsolute(path)) throw new Error('needs the absolute path of a file');
  const exported: unknown = loadModule(path);
  const decode = (exported as { decode?: unknown } | null)?.decode;
  if (typeof decode !== 'function') throw new Error(`${path} must export a function 'decode'`);
  let count = 0;
  const checked: Decoder = (input) => {
    const startedMs = performance.now();
    try {
      // A copy: the message may still become a dead letter, as it was sent.
      return parseDecoded(decode({ ...input, payload: Uint8Array.from(input.payload) }));
    } catch (error) {
      if (error instanceof AppError && error.code === 'invalid-arguments') throw error;
      throw undecodable(messageOf(error).slice(0, 500), error);
    } finally {
      const tookMs = performance.now() - startedMs;
      if (tookMs > fileBudgetMs) onSlow?.({ decoder: name, tookMs, count: ++count });
    }
  };
  return { name, options: { type: 'object' }, decode: checked };
}

function loadModule(path: string): unknown {
  try {
    return load(path);
  } catch (error) {
    throw new Error(`${path} cannot be loaded: ${messageOf(error).split('\n')[0]}`, { cause: error });
  }
}

/** Checks what a decoder of somebody else gave. Throws AppError `invalid-arguments` naming the field. */
export function parseDecoded(value: unknown): Decoded {
  if (value instanceof Promise) {
    // Whatever becomes of it, it comes too late.
    value.catch(() => undefined);
    throw undecodable('the decoder must return its result at once, not a promise');
  }
  const input = asObject(value, 'the decoder’s result', ['device', 'seq', 'mac', 'signed', 'readings']);
  const device = optional(input.device, (v) => asString(v, 'device', { max: 200 }));
  const seq = optional(input.seq, (v) => asInteger(v, 'seq', { min: 0, max: Number.MAX_SAFE_INTEGER }));
  const mac = optional(input.mac, (v) => asString(v, 'mac', { max: 128 }));
  if (input.signed !== undefined && !(input.signed instanceof Uint8Array))
    throw undecodable('signed must be bytes');
  return {
    readings: asArray(input.readings, 'readings', { max: decoderLimits.readings }).map((each, index) =>
      parseReading(each, `readings[${index}]`),
    ),
    ...(device !== undefined && { device }),
    ...(seq !== undefined && { seq }),
    ...(mac !== undefined && { mac }),
    ...(input.signed !== undefined && { signed: input.signed }),
  };
}

function parseReading(value: unknown, field: string): DecodedReading {
  const input = asObject(value, field, ['module', 'measurement', 'value', 'unit', 'at']);
  const module = optional(input.module, (v) => asString(v, `${field}.module`, { max: 200 }));
  const unit = optional(input.unit, (v) => asString(v, `${field}.unit`, { min: 0, max: 100 }));
  const at = optional(input.at, (v) => asNumber(v, `${field}.at`));
  const reading = input.value;
  if (typeof reading !== 'number' && typeof reading !== 'boolean' && typeof reading !== 'string')
    throw undecodable(`${field}.value must be a number, a boolean or a text`);
  return {
    measurement: asString(input.measurement, `${field}.measurement`, { min: 0, max: 200 }),
    value: reading,
    ...(module !== undefined && { module }),
    ...(unit !== undefined && { unit }),
    ...(at !== undefined && { at }),
  };
}
