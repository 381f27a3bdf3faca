/**
 * A batch of readings on the wire, board to server, and its acknowledgement.
 *
 * A board numbers its readings 1, 2, 3 … within an epoch (one life of its spool). Batches repeat
 * until acknowledged; the server's fence (board_spools) skips what it has, so a repeat is harmless.
 */
import { AppError } from '../runtime/app-error.ts';
import { asArray, asInteger, asObject, asOneOf, asString, isUuid, optional } from '../runtime/guards.ts';

export const readingTypes = ['number', 'boolean', 'text'] as const;
export type ReadingType = (typeof readingTypes)[number];
export type ReadingValue = number | boolean | string;

/** What a stream holds; `name` is `<module>/<measurement>`. */
export interface StreamDeclaration {
  name: string;
  type: ReadingType;
  /** UCUM where one exists ("Cel", "%", "By/s"); empty = no unit. */
  unit: string;
}

/** One reading as it travels: [index into `streams`, epoch milliseconds, value]. */
export type ReadingTuple = [stream: number, at: number, value: ReadingValue];

export interface ReadingsBatch {
  /** uuid of this life of the spool. */
  epoch: string;
  /** Sequence number of the first reading; the others follow without holes. */
  from: number;
  streams: StreamDeclaration[];
  readings: ReadingTuple[];
  /** Why the numbers before `from` that were never sent will not come (spool overflow). */
  lost?: { reason: string };
}

export interface ReadingsAck {
  /** Highest contiguous sequence number of this epoch that is committed. */
  ackedSeq: number;
  /** When the next batch is wanted at the latest; the board takes it over at once. */
  batchIntervalMs: number;
}

export const readingsLimits = {
  /** Readings in one batch. */
  batchReadings: 1000,
  batchStreams: 500,
  /** Serialized batch, bytes. */
  batchBytes: 900_000,
  textLength: 2000,
  streamNameLength: 150,
  unitLength: 30,
} as const;

export const streamNamePattern = /^[A-Za-z0-9_][A-Za-z0-9_.:-]*\/[A-Za-z0-9_][A-Za-z0-9_./:-]*$/;

/** The last millisecond that a JavaScript Date can hold is further; the year 9999 is enough. */
export const latestAt = 253_402_300_799_999;

export function parseStream(value: unknown, field: string): StreamDeclaration {
  const input = asObject(value, field, ['name', 'type', 'unit']);
  return {
    name: asString(input.name, `${field}.name`, {
      max: readingsLimits.streamNameLength,
      pattern: streamNamePattern,
    }),
    type: asOneOf(input.type, `${field}.type`, readingTypes),
    unit:
      optional(input.unit, (v) => asString(v, `${field}.unit`, { min: 0, max: readingsLimits.unitLength })) ??
      '',
  };
}

/** Throws AppError `invalid-arguments` naming the field; nothing of a bad batch is taken. */
export function parseReadingsBatch(value: unknown): ReadingsBatch {
  const input = asObject(value, 'kwargs', ['epoch', 'from', 'streams', 'readings', 'lost']);
  if (!isUuid(input.epoch))
    throw new AppError('invalid-arguments', 'epoch must be a uuid', { details: { field: 'epoch' } });
  const streams = asArray(input.streams, 'streams', { max: readingsLimits.batchStreams }).map((each, index) =>
    parseStream(each, `streams[${index}]`),
  );
  const readings = asArray(input.readings, 'readings', { max: readingsLimits.batchReadings });
  for (let index = 0; index < readings.length; index += 1) checkReading(readings[index], index, streams);
  const lost = optional(input.lost, (v) => asObject(v, 'lost', ['reason']));
  return {
    epoch: input.epoch,
    from: asInteger(input.from, 'from', {
      min: 1,
      max: Number.MAX_SAFE_INTEGER - readingsLimits.batchReadings,
    }),
    streams,
    readings: readings as ReadingTuple[],
    ...(lost && { lost: { reason: asString(lost.reason, 'lost.reason', { max: 100 }) } }),
  };
}

// Runs for each of up to 200,000 readings a second: no allocation on the good path.
function checkReading(value: unknown, index: number, streams: readonly StreamDeclaration[]): void {
  const fault = (rule: string) =>
    new AppError('invalid-arguments', `readings[${index}] ${rule}`, {
      details: { field: `readings[${index}]` },
    });

  if (!Array.isArray(value) || value.length !== 3) throw fault('must be [stream, at, value]');
  const [stream, at, reading] = value as unknown[];
  const declaration = typeof stream === 'number' ? streams[stream] : undefined;
  if (!declaration) throw fault('must name a stream by its index in streams');
  if (!Number.isSafeInteger(at) || (at as number) < 0 || (at as number) > latestAt) {
    throw fault('must have a time in epoch milliseconds');
  }
  if (!fits(reading, declaration.type)) throw fault(`must have a value of type ${declaration.type}`);
}

function fits(value: unknown, type: ReadingType): boolean {
  if (type === 'number') return typeof value === 'number' && Number.isFinite(value);
  if (type === 'boolean') return typeof value === 'boolean';
  return typeof value === 'string' && value.length <= readingsLimits.textLength && value.isWellFormed();
}

/** Throws AppError when the answer is not an acknowledgement. */
export function parseReadingsAck(value: unknown): ReadingsAck {
  const input = asObject(value, 'ack');
  return {
    ackedSeq: asInteger(input.ackedSeq, 'ackedSeq', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    batchIntervalMs: asInteger(input.batchIntervalMs, 'batchIntervalMs', { min: 0, max: 3_600_000 }),
  };
}
