/**
 * Parsing `unknown` into typed values, with an error that names the field and the limit. Used at
 * both ends of every WAMP call; no dependency, because the board agent carries it too.
 */
import { AppError } from './app-error.ts';

export type JsonObject = Record<string, unknown>;

function fail(field: string, rule: string): never {
  throw new AppError('invalid-arguments', `${field} ${rule}`, { details: { field } });
}

/** An object that is neither null nor an array; with `allowed`, one without other members. */
export function asObject(value: unknown, field: string, allowed?: readonly string[]): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(field, 'must be an object');
  const object = value as JsonObject;
  const unknown = allowed && Object.keys(object).find((key) => !allowed.includes(key));
  if (unknown !== undefined) fail(`${field}.${unknown}`, 'is not a known field');
  return object;
}

export function asArray(value: unknown, field: string, limit: { max: number; min?: number }): unknown[] {
  if (!Array.isArray(value)) fail(field, 'must be an array');
  if (value.length > limit.max) fail(field, `must have at most ${limit.max} items, not ${value.length}`);
  if (value.length < (limit.min ?? 0)) fail(field, `must have at least ${limit.min} items`);
  return value;
}

/** Text without control characters (line feeds and tabs included unless `multiline`). */
export function asString(
  value: unknown,
  field: string,
  limit: { max: number; min?: number; pattern?: RegExp; multiline?: boolean },
): string {
  if (typeof value !== 'string') fail(field, 'must be a string');
  const min = limit.min ?? 1;
  if (value.length < min || value.length > limit.max)
    fail(field, `must have ${min} to ${limit.max} characters`);
  if (!value.isWellFormed()) fail(field, 'must be well-formed Unicode');
  const checked = limit.multiline ? value.replaceAll(/[\n\r\t]/g, '') : value;
  if (/\p{Cc}/u.test(checked)) fail(field, 'must not contain control characters');
  if (limit.pattern && !limit.pattern.test(value)) fail(field, `must match ${limit.pattern.source}`);
  return value;
}

export function asInteger(value: unknown, field: string, range: { min: number; max: number }): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) fail(field, 'must be a whole number');
  if (value < range.min || value > range.max) fail(field, `must be from ${range.min} to ${range.max}`);
  return value;
}

/** A finite number. */
export function asNumber(value: unknown, field: string, range?: { min: number; max: number }): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) fail(field, 'must be a finite number');
  if (range && (value < range.min || value > range.max))
    fail(field, `must be from ${range.min} to ${range.max}`);
  return value;
}

export function asBoolean(value: unknown, field: string): boolean {
  if (typeof value !== 'boolean') fail(field, 'must be true or false');
  return value;
}

export function asOneOf<T extends string>(value: unknown, field: string, allowed: readonly T[]): T {
  const match = allowed.find((each) => each === value);
  if (match === undefined) fail(field, `must be one of ${allowed.join(', ')}`);
  return match;
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && uuidPattern.test(value);
}

/** undefined and null pass as undefined; anything else goes through `parse`. */
export function optional<T>(value: unknown, parse: (value: unknown) => T): T | undefined {
  return value === undefined || value === null ? undefined : parse(value);
}
