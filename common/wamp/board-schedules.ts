/** Schedules that boards run by themselves: `operation.schedules`. */
import { createHash } from 'node:crypto';
import { asArray, asInteger, asObject, asOneOf, asString, type JsonObject } from '../runtime/guards.ts';
import { asTime, asUuid, operationLimits } from './operation-limits.ts';

/** The due time of a schedule that an operation is for. */
export interface ScheduleRef {
  scheduleId: string;
  /** Epoch milliseconds. */
  dueAt: number;
}

/** Entry of `operation.schedules`, whose kwargs `{schedules: […]}` replace all that the board has. */
export interface BoardSchedule {
  scheduleId: string;
  version: number;
  timing: ScheduleTiming;
  procedure: string;
  kwargs: JsonObject;
  /** Seconds that a run may take, from its due time. */
  deadlineSeconds: number;
  jitterSeconds: number;
  overlap: ScheduleOverlap;
  catchUp: ScheduleCatchUp;
  /** Epoch milliseconds: due times at and before this are not the board's to run. */
  after: number;
}

/** One of the three, by `kind`. */
export type ScheduleTiming =
  | { kind: 'cron'; cron: string; timeZone: string }
  | { kind: 'interval'; everySeconds: number; from: number }
  | { kind: 'once'; at: number };

export const scheduleOverlaps = ['skip', 'queue', 'cancel-previous'] as const;

export type ScheduleOverlap = (typeof scheduleOverlaps)[number];

/** What is made up for after an outage: none, the last due time, or all up to `limit`. */
export interface ScheduleCatchUp {
  mode: 'none' | 'last' | 'all';
  limit: number;
}

/** A due time that is not later than this counts as on time, on servers and on boards. */
export const onTimeMs = 60_000;

/**
 * Id of the operation that a schedule's due time makes: the same wherever it is computed, so that a
 * due time is one operation however often it is met. A uuid (RFC 9562, version 8) that begins with the
 * due time, as those of other operations begin with the time of their making: the queues of boards go
 * by the order of ids. The rest is SHA-256 of both names.
 */
export function scheduledOperationId(scheduleId: string, dueAt: number): string {
  const hash = createHash('sha256').update(`boardwalk schedule ${scheduleId} ${dueAt}`).digest();
  hash.writeUIntBE(Math.min(dueAt, 2 ** 48 - 1), 0, 6);
  hash[6] = (hash.readUInt8(6) & 0x0f) | 0x80;
  hash[8] = (hash.readUInt8(8) & 0x3f) | 0x80;
  return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export function parseBoardSchedules(value: unknown): BoardSchedule[] {
  const input = asObject(value, 'kwargs', ['schedules']);
  return asArray(input.schedules, 'schedules', { max: operationLimits.schedules }).map((each, index) =>
    parseBoardSchedule(each, `schedules[${index}]`),
  );
}

function parseBoardSchedule(value: unknown, field: string): BoardSchedule {
  const input = asObject(value, field);
  const catchUp = asObject(input.catchUp, `${field}.catchUp`);
  return {
    scheduleId: asUuid(input.scheduleId, `${field}.scheduleId`),
    version: asInteger(input.version, `${field}.version`, { min: 1, max: Number.MAX_SAFE_INTEGER }),
    timing: parseTiming(input.timing, `${field}.timing`),
    procedure: asString(input.procedure, `${field}.procedure`, { max: 100 }),
    kwargs: asObject(input.kwargs ?? {}, `${field}.kwargs`),
    deadlineSeconds: asInteger(input.deadlineSeconds, `${field}.deadlineSeconds`, {
      min: 1,
      max: 31_536_000,
    }),
    jitterSeconds: asInteger(input.jitterSeconds, `${field}.jitterSeconds`, { min: 0, max: 86_400 }),
    overlap: asOneOf(input.overlap, `${field}.overlap`, scheduleOverlaps),
    catchUp: {
      mode: asOneOf(catchUp.mode, `${field}.catchUp.mode`, ['none', 'last', 'all'] as const),
      limit: asInteger(catchUp.limit, `${field}.catchUp.limit`, { min: 1, max: 100 }),
    },
    after: asTime(input.after, `${field}.after`),
  };
}

export function parseTiming(value: unknown, field: string): ScheduleTiming {
  const input = asObject(value, field);
  const kind = asOneOf(input.kind, `${field}.kind`, ['cron', 'interval', 'once'] as const);
  if (kind === 'once') return { kind, at: asTime(input.at, `${field}.at`) };
  if (kind === 'interval')
    return {
      kind,
      everySeconds: asInteger(input.everySeconds, `${field}.everySeconds`, { min: 1, max: 31_536_000 }),
      from: asTime(input.from, `${field}.from`),
    };
  return {
    kind,
    cron: asString(input.cron, `${field}.cron`, { max: 100 }),
    timeZone: asString(input.timeZone, `${field}.timeZone`, { max: 60 }),
  };
}

export function parseScheduleRef(value: unknown, field: string): ScheduleRef {
  const input = asObject(value, field, ['scheduleId', 'dueAt']);
  return {
    scheduleId: asUuid(input.scheduleId, `${field}.scheduleId`),
    dueAt: asTime(input.dueAt, `${field}.dueAt`),
  };
}
