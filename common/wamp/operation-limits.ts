/** Checks that the parsers of operations share, and their limits. */
import { AppError } from '../runtime/app-error.ts';
import { asInteger, isUuid } from '../runtime/guards.ts';
import { checkStorable } from './storable.ts';

export const operationLimits = {
  /** JSON text of a result; a larger one becomes an artifact. */
  resultBytes: 262_144,
  /** Reports in one call, and their JSON text together. */
  reports: 50,
  reportsBytes: 700_000,
  /** Ids in one question or cancellation. */
  ids: 100,
  artifactBytes: 50 * 1024 * 1024,
  artifactsPerOperation: 10,
  /** Of one board. */
  artifactBytesPerDay: 5 * 1024 * 1024 * 1024,
  /** Bytes of one chunk, before base64. */
  chunkBytes: 131_072,
  progressBytes: 65_536,
  /** Of nesting in results, progress and details. */
  levels: 28,
  schedules: 200,
} as const;

const maxTime = 8_640_000_000_000_000;

export function asUuid(value: unknown, field: string): string {
  if (isUuid(value)) return value;
  throw new AppError('invalid-arguments', `${field} must be a uuid`, { details: { field } });
}

export const asTime = (value: unknown, field: string) => asInteger(value, field, { min: 0, max: maxTime });

export const asAttempt = (value: unknown, field: string) =>
  asInteger(value, field, { min: 1, max: 1_000_000 });

/** The value as it is, if it can be stored and its JSON text stays within `max` bytes. */
export function asBounded(value: unknown, field: string, max: number): unknown {
  checkStorable(value, field, operationLimits.levels);
  const text = JSON.stringify(value);
  if (text !== undefined && Buffer.byteLength(text) > max)
    throw new AppError('payload-too-large', `${field} must have at most ${max} bytes as JSON`, {
      details: { field },
    });
  return value;
}
