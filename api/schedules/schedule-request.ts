/** The body of a schedule, checked for what a schema cannot say; and back to its form in answers. Pure. */
import type { ScheduledOperation, ScheduleRow } from '../../common/db/queries/schedule-rows.ts';
import { checkTiming, nextDue } from '../../common/operations/schedule-times.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { ScheduleTiming } from '../../common/wamp/board-schedules.ts';
import type { Schemas } from '../http/operation.ts';
import { atPointer, fault, parseOperationRequest } from '../operations/operation-request.ts';

const deadlineSeconds = 3600;

/** Throws AppError `invalid-request` with the place of the fault. */
export function parseTiming(input: Schemas['ScheduleTiming'], now: number): ScheduleTiming {
  const kinds = (['cron', 'everySeconds', 'at'] as const).filter((each) => input[each] !== undefined);
  if (kinds.length !== 1) throw fault('/timing', 'must have exactly one of cron, everySeconds and at');
  const [kind] = kinds;
  for (const [name, owner] of [
    ['timeZone', 'cron'],
    ['from', 'everySeconds'],
  ] as const)
    if (input[name] !== undefined && kind !== owner)
      throw fault(`/timing/${name}`, `goes with ${owner} only`);
  const timing = toTiming(input, now);
  atPointer(() => checkTiming(timing, now));
  return timing;
}

function toTiming(input: Schemas['ScheduleTiming'], now: number): ScheduleTiming {
  const { cron, timeZone = 'UTC', everySeconds, from, at } = input;
  if (cron !== undefined) return { kind: 'cron', cron, timeZone };
  if (everySeconds !== undefined)
    return {
      kind: 'interval',
      everySeconds,
      from: from === undefined ? now : parseTime(from, '/timing/from'),
    };
  return { kind: 'once', at: parseTime(at ?? '', '/timing/at') };
}

function parseTime(text: string, pointer: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw fault(pointer, 'is no time');
  return at;
}

export function fromTiming(timing: ScheduleTiming): Schemas['ScheduleTiming'] {
  if (timing.kind === 'cron') return { cron: timing.cron, timeZone: timing.timeZone };
  if (timing.kind === 'once') return { at: new Date(timing.at).toISOString() };
  return { everySeconds: timing.everySeconds, from: new Date(timing.from).toISOString() };
}

/** Throws AppError `invalid-request` with the place of the fault. */
export function parseScheduledOperation(
  input: Schemas['ScheduledOperation'],
  now: number,
): ScheduledOperation {
  const { deadlineSeconds: seconds = deadlineSeconds, delivery = 'when-online', ...rest } = input;
  const parsed = below('/operation', () => parseOperationRequest({ ...rest, delivery }, now));
  const { procedure, kwargs, target, window, attempts, parallel } = parsed;
  return { procedure, kwargs, target, delivery, window, deadlineSeconds: seconds, attempts, parallel };
}

/** What boards that run it by themselves cannot keep to. */
export function checkOffline({ delivery, attempts }: ScheduledOperation): void {
  if (delivery !== 'when-online')
    throw fault('/operation/delivery', "must be 'when-online' for an offline schedule");
  if (attempts !== 1) throw fault('/operation/attempts', 'must be 1 for an offline schedule');
}

/** What begins after its deadline is never done. */
export function checkJitter({
  jitterSeconds,
  operation,
}: {
  jitterSeconds: number;
  operation: ScheduledOperation;
}): void {
  if (jitterSeconds >= operation.deadlineSeconds)
    throw fault(
      '/jitterSeconds',
      `must be below the operation's deadlineSeconds, ${operation.deadlineSeconds}`,
    );
}

/** Faults of the operation's parser stand below `pointer` here. */
export function below<T>(pointer: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw shifted(error, pointer);
  }
}

export function shifted(error: unknown, pointer: string): unknown {
  if (!(error instanceof AppError) || !Array.isArray(error.details.errors)) return error;
  const errors = (error.details.errors as { pointer?: string }[]).map((each) =>
    each.pointer === undefined ? each : { ...each, pointer: pointer + each.pointer },
  );
  return new AppError(error.code, error.message, { cause: error, details: { ...error.details, errors } });
}

const shownDueTimes = 5;

export function toSchedule(row: ScheduleRow, now: number): Schemas['Schedule'] {
  const { tenantId, timing, catchUp, operation, nextAt: _nextAt, ...rest } = row;
  const { window, ...body } = operation;
  return {
    ...rest,
    tenant: tenantId,
    timing: fromTiming(timing),
    operation: { ...body, ...(window && { window }) },
    catchUp: catchUp.mode,
    catchUpLimit: catchUp.limit,
    nextDueAt: row.state === 'active' ? nextDueTimes(timing, now) : [],
    lastDueAt: row.lastDueAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function nextDueTimes(timing: ScheduleTiming, now: number): string[] {
  const times: string[] = [];
  for (
    let at = nextDue(timing, now);
    at !== undefined && times.length < shownDueTimes;
    at = nextDue(timing, at)
  )
    times.push(new Date(at).toISOString());
  return times;
}
