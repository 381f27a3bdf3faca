/**
 * What a decoder is beside its function: its name in rules and the schema of its options. Decoders
 * are pure, never wait, and say what is wrong with the bytes in one sentence.
 */
import { AppError } from '../../../common/runtime/app-error.ts';
import type { Schema } from '../../../common/wamp/contract.ts';
import type { Decoder } from '../types.ts';

export interface DecoderKind {
  name: string;
  /** Of the rule's `options`; they have their defaults when `decode` sees them. */
  options: Schema;
  decode: Decoder;
}

export const decoderLimits = {
  payloadBytes: 262_144,
  /** Readings of one message. */
  readings: 1000,
  /** Levels of objects and arrays. */
  depth: 16,
} as const;

/** What decoders throw. */
export function undecodable(reason: string, cause?: unknown): AppError {
  return new AppError('invalid-arguments', reason, cause === undefined ? {} : { cause });
}

/** A sequence number. Throws AppError `invalid-arguments` naming the member. */
export function asSequence(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw undecodable(`${name} must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
}

export const noOptions: Schema = { type: 'object', additionalProperties: false, properties: {} };
