/** The body of a creation or a plan, checked for what a schema cannot say. Pure. */
import type { Delivery } from '../../common/db/entities/operations.ts';
import type { TargetChoice } from '../../common/db/queries/operation-targets.ts';
import { parseRolloutOptions, type RolloutOptions } from '../../common/operations/rollout.ts';
import { checkWindow, type DailyWindow } from '../../common/operations/window.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid, type JsonObject } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';

export interface OperationRequest {
  procedure: string;
  kwargs: JsonObject;
  target: TargetChoice;
  delivery: Delivery;
  window: DailyWindow | null;
  rollout: RolloutOptions | null;
  deadlineAt: Date;
  /** As it was asked for; null = the usual one. */
  deadline: string | null;
  attempts: number;
  parallel: boolean;
  strict: boolean;
  plan: string | undefined;
}

export const kwargsBytes = 65_536;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const longestMs = 366 * dayMs;

/** Throws AppError `invalid-request` with the place of the fault. */
export function parseOperationRequest(body: Schemas['OperationCreation'], now: number): OperationRequest {
  const { procedure, delivery, kwargs = {}, window, rollout } = body;
  if (Buffer.byteLength(JSON.stringify(kwargs)) > kwargsBytes)
    throw fault('/kwargs', `must have at most ${kwargsBytes} bytes`);
  for (const name of ['window', 'rollout'] as const) {
    if (delivery === name && body[name] === undefined) throw fault(`/${name}`, `is required for ${name}`);
    if (delivery !== name && body[name] !== undefined)
      throw fault(`/${name}`, `goes with delivery '${name}' only`);
  }
  return {
    procedure,
    kwargs,
    target: normalTarget(body.target),
    delivery,
    window: window === undefined ? null : atPointer(() => checkWindow(window)),
    rollout: rollout === undefined ? null : atPointer(() => parseRolloutOptions(rollout)),
    deadlineAt: deadlineAt(body, now),
    deadline: body.deadline ?? null,
    attempts: body.attempts ?? 1,
    parallel: body.parallel ?? false,
    strict: body.strict ?? false,
    plan: body.plan,
  };
}

/** uuids in the spelling of the database; names as they are. */
function normalTarget(target: TargetChoice): TargetChoice {
  const lower = (reference: string) =>
    isUuid(reference.toLowerCase()) ? reference.toLowerCase() : reference;
  return {
    ...(target.boards && { boards: target.boards.map(lower) }),
    ...(target.fleet !== undefined && { fleet: lower(target.fleet) }),
    ...(target.selector !== undefined && { selector: target.selector }),
  };
}

function deadlineAt({ deadline, delivery }: Schemas['OperationCreation'], now: number): Date {
  if (deadline === undefined) return new Date(now + (delivery === 'now' ? hourMs : 7 * dayMs));
  return parseDeadline(deadline, now);
}

/** Throws AppError `invalid-request` for a time that has passed, or is more than a year away. */
export function parseDeadline(text: string, now: number): Date {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw fault('/deadline', 'is no time');
  if (at <= now) throw fault('/deadline', 'must lie in the future');
  if (at > now + longestMs) throw fault('/deadline', 'must be at most a year (366 days) away');
  return new Date(at);
}

export function fault(pointer: string, detail: string): AppError {
  const name = pointer.slice(1).replaceAll('/', '.') || 'the body';
  return new AppError('invalid-request', `${name} ${detail}`, { details: { errors: [{ pointer, detail }] } });
}

/** Runs a parser that names `field`s, such as `rollout.waves[0].percent`, and tells them as pointers. */
export function atPointer<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const field = error instanceof AppError ? error.details.field : undefined;
    if (!(error instanceof AppError) || typeof field !== 'string') throw error;
    const pointer = `/${field.replaceAll(/\[(\d+)\]/g, '.$1').replaceAll('.', '/')}`;
    throw new AppError('invalid-request', error.message, {
      cause: error,
      details: { errors: [{ pointer, detail: error.message }] },
    });
  }
}
