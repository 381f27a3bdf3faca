/**
 * Rollouts: an operation that reaches its boards wave by wave. What one may ask for (`options` of the
 * table `rollouts`), how its boards fall into waves, and how many may be let through now. Pure.
 *
 * Of the targets that ended, cancelled ones count neither as success nor as failure: somebody took
 * them out. `expired` and `unknown` count as failed.
 */
import { AppError } from '../runtime/app-error.ts';
import { asArray, asInteger, asNumber, asObject, asOneOf, optional } from '../runtime/guards.ts';

export const rolloutApprovals = ['none', 'each-wave', 'start'] as const;
/** `start`: before the first wave. `each-wave`: before each, the first included. */
export type RolloutApproval = (typeof rolloutApprovals)[number];

/** A number of boards, or a share of all boards of the rollout. */
export type WaveSize = { count: number } | { percent: number };

export interface RolloutRate {
  perMinute: number;
  /** Each `everySucceeded` successes of the rollout multiply the rate by `factor`, up to `maxPerMinute`. */
  ramp?: { factor: number; everySucceeded: number; maxPerMinute: number };
}

export interface RolloutOptions {
  /** The last one takes all boards that are left. */
  waves: WaveSize[];
  rate?: RolloutRate;
  /** Of the ended targets of a wave, so many must have succeeded for the next one to open. */
  successPercent: number;
  /** Given up when, after `afterEnded` ended targets of the rollout, so many percent of them or more failed. */
  abort?: { failedPercent: number; afterEnded: number };
  approval: RolloutApproval;
}

export const rolloutLimits = { waves: 100, perMinute: 100_000, count: 1_000_000 } as const;

const percent = { min: 0, max: 100 };
const count = { min: 1, max: rolloutLimits.count };
const rate = { min: 0.1, max: rolloutLimits.perMinute };

/** Throws AppError `invalid-arguments` naming what is wrong. */
export function parseRolloutOptions(value: unknown, field = 'rollout'): RolloutOptions {
  const input = asObject(value, field, ['waves', 'rate', 'successPercent', 'abort', 'approval']);
  const rateOption = optional(input.rate, (v) => parseRate(v, `${field}.rate`));
  const abort = optional(input.abort, (v) => parseAbort(v, `${field}.abort`));
  const waves = optional(input.waves, (v) =>
    asArray(v, `${field}.waves`, { min: 1, max: rolloutLimits.waves }).map((each, index) =>
      parseWave(each, `${field}.waves[${index}]`),
    ),
  );
  return {
    waves: waves ?? [{ percent: 100 }],
    ...(rateOption && { rate: rateOption }),
    successPercent:
      optional(input.successPercent, (v) => asNumber(v, `${field}.successPercent`, percent)) ?? 100,
    ...(abort && { abort }),
    approval: optional(input.approval, (v) => asOneOf(v, `${field}.approval`, rolloutApprovals)) ?? 'none',
  };
}

function parseWave(value: unknown, field: string): WaveSize {
  const input = asObject(value, field, ['count', 'percent']);
  if ((input.count === undefined) === (input.percent === undefined))
    throw new AppError('invalid-arguments', `${field} must have either count or percent`, {
      details: { field },
    });
  return input.count === undefined
    ? { percent: asNumber(input.percent, `${field}.percent`, percent) }
    : { count: asInteger(input.count, `${field}.count`, count) };
}

function parseRate(value: unknown, field: string): RolloutRate {
  const input = asObject(value, field, ['perMinute', 'ramp']);
  const perMinute = asNumber(input.perMinute, `${field}.perMinute`, rate);
  const ramp = optional(input.ramp, (v) => {
    const each = asObject(v, `${field}.ramp`, ['factor', 'everySucceeded', 'maxPerMinute']);
    return {
      factor: asNumber(each.factor, `${field}.ramp.factor`, { min: 1, max: 100 }),
      everySucceeded: asInteger(each.everySucceeded, `${field}.ramp.everySucceeded`, count),
      maxPerMinute: asNumber(each.maxPerMinute, `${field}.ramp.maxPerMinute`, {
        min: perMinute,
        max: rolloutLimits.perMinute,
      }),
    };
  });
  return { perMinute, ...(ramp && { ramp }) };
}

function parseAbort(value: unknown, field: string): { failedPercent: number; afterEnded: number } {
  const input = asObject(value, field, ['failedPercent', 'afterEnded']);
  return {
    // At 0 the first success would end it.
    failedPercent: asNumber(input.failedPercent, `${field}.failedPercent`, { min: 0.01, max: 100 }),
    afterEnded: optional(input.afterEnded, (v) => asInteger(v, `${field}.afterEnded`, count)) ?? 1,
  };
}

/**
 * How many boards each wave has, of `boards` in all. Waves that would be empty are left out, so there
 * may be fewer than asked for; together they are all boards.
 */
export function planWaves(boards: number, options: Pick<RolloutOptions, 'waves'>): number[] {
  const sizes: number[] = [];
  let left = boards;
  for (const [index, wave] of options.waves.entries()) {
    const wanted = 'count' in wave ? wave.count : Math.ceil((boards * wave.percent) / 100);
    const size = index === options.waves.length - 1 ? left : Math.min(left, wanted);
    if (size > 0) sizes.push(size);
    left -= size;
  }
  return sizes;
}

/** Targets per minute after so many successes. */
export function currentRate({ perMinute, ramp }: RolloutRate, succeeded: number): number {
  if (!ramp) return perMinute;
  const steps = Math.floor(succeeded / ramp.everySucceeded);
  return Math.min(ramp.maxPerMinute, perMinute * ramp.factor ** steps);
}

export interface Release {
  count: number;
  /** To be kept as `released_at`: what the rate has given so far, to the target. */
  releasedAt: number;
}

/** What was not let through for so long (nobody was there to do it) is not made up for. */
const catchUpMs = 2000;

/**
 * How many targets of the open wave may be let through now.
 * @param state `released_at`, epoch milliseconds of the database's clock; undefined = none yet
 */
export function releasable(
  options: Pick<RolloutOptions, 'rate'>,
  state: { held: number; succeeded: number; releasedAt: number | undefined },
  now: number,
): Release {
  if (!options.rate) return { count: state.held, releasedAt: now };
  const intervalMs = 60_000 / currentRate(options.rate, state.succeeded);
  const earliest = now - Math.max(catchUpMs, intervalMs);
  const from = state.releasedAt === undefined ? now - intervalMs : Math.max(state.releasedAt, earliest);
  const given = Math.max(0, Math.floor((now - from) / intervalMs + 1e-9));
  const released = Math.min(given, state.held);
  // What is kept has whole milliseconds: rounded up, the rate is never exceeded.
  return { count: released, releasedAt: released < given ? now : Math.ceil(from + released * intervalMs) };
}
