/**
 * The plan of an operation: which boards, in which waves, and a hash that stands for all of it, so
 * that what was looked at is what is applied. Pure.
 */
import { createHash } from 'node:crypto';
import { waveOfEach } from '../../common/db/queries/operation-creation.ts';
import type { ResolvedTargets } from '../../common/db/queries/operation-targets.ts';
import { planWaves, type RolloutOptions, type RolloutRate } from '../../common/operations/rollout.ts';
import { type DailyWindow, windowState } from '../../common/operations/window.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { canonicalJson } from '../http/idempotency.ts';
import type { Schemas } from '../http/operation.ts';
import type { OperationRequest } from './operation-request.ts';

export interface PlannedOperation {
  tenantId: string;
  request: OperationRequest;
  resolved: ResolvedTargets;
}

const shown = 100;

export function planHash({ tenantId, request, resolved }: PlannedOperation): string {
  const { procedure, kwargs, target, delivery, window, rollout, deadline, attempts, parallel } = request;
  const waves = rollout && waveOfEach(resolved.included.length, rollout);
  const included = resolved.included.map(({ uuid }, index) => [uuid, waves?.[index] ?? null]);
  const excluded = resolved.excluded.map(({ uuid, reason }) => [uuid, reason]);
  const asked = { procedure, kwargs, target, delivery, window, rollout, deadline, attempts, parallel };
  const text = canonicalJson({
    tenantId,
    ...asked,
    included: included.sort(byFirst),
    excluded: excluded.sort(byFirst),
  });
  return createHash('sha256').update(text).digest('hex');
}

const byFirst = ([left]: unknown[], [right]: unknown[]) => (String(left) < String(right) ? -1 : 1);

/** Throws AppError `invalid-request` when a rollout has no plan, `plan-changed` when it has another one. */
export function requirePlan(planned: PlannedOperation): void {
  const { request, resolved } = planned;
  if (request.plan === undefined) {
    if (request.rollout === null) return;
    const detail = 'is required for rollout: POST /v1/operations/plan gives it';
    throw new AppError('invalid-request', `plan ${detail}`, {
      details: { errors: [{ pointer: '/plan', detail }] },
    });
  }
  const hash = planHash(planned);
  if (hash === request.plan) return;
  throw new AppError('plan-changed', 'the boards or the request are no longer those of the plan', {
    details: {
      plan: {
        hash,
        count: resolved.included.length,
        excludedCount: resolved.excluded.length,
        waves: wavesOf(planned),
      },
    },
  });
}

function wavesOf({ request, resolved }: PlannedOperation): number[] {
  return request.rollout ? planWaves(resolved.included.length, request.rollout) : [];
}

/** @param procedureSeconds how long the procedure took lately; undefined = not known */
export function toPlan(
  planned: PlannedOperation,
  procedureSeconds: number | undefined,
  now: number,
): Schemas['OperationPlan'] {
  const { request, resolved } = planned;
  const { included, excluded } = resolved;
  const waves = wavesOf(planned);
  const waveOf = request.rollout ? waveOfEach(included.length, request.rollout) : [];
  return {
    hash: planHash(planned),
    count: included.length,
    online: included.filter(({ status }) => status === 'online').length,
    unverified: included.filter(({ safety }) => safety === null).length,
    targets: included.slice(0, shown).map(({ uuid, name, status }, index) => ({
      board: uuid,
      name,
      status,
      wave: waveOf[index] ?? null,
    })),
    excludedCount: excluded.length,
    excluded: toExcluded(resolved),
    waves,
    expectedSeconds: expectedSeconds({ ...request, waves, procedureSeconds, now }),
  };
}

/** The first hundred. */
export function toExcluded({ excluded }: ResolvedTargets): Schemas['OperationPlan']['excluded'] {
  return excluded.slice(0, shown).map(({ uuid, ...rest }) => ({ board: uuid, ...rest }));
}

/**
 * A guess, as if all boards were online and nobody had to approve: until the window opens, wave after
 * wave at the rate, and in each the procedure once. null when nothing is known.
 */
export function expectedSeconds(given: {
  window: DailyWindow | null;
  rollout: Pick<RolloutOptions, 'rate'> | null;
  waves: readonly number[];
  procedureSeconds: number | undefined;
  now: number;
}): number | null {
  const { window, rollout, waves, procedureSeconds, now } = given;
  const rate = rollout?.rate;
  if (procedureSeconds === undefined && !rate) return null;
  const state = window && windowState(window, now);
  const untilOpen = state && !state.open ? (state.opensAt - now) / 1000 : 0;
  const rounds = Math.max(1, waves.length) * (procedureSeconds ?? 0);
  const boards = waves.reduce((sum, size) => sum + size, 0);
  return round(untilOpen + rounds + (rate ? secondsAtRate(rate, boards) : 0));
}

function secondsAtRate({ perMinute, ramp }: RolloutRate, boards: number): number {
  if (!ramp) return (boards / perMinute) * 60;
  let seconds = 0;
  let left = boards;
  let current = perMinute;
  while (left > 0 && current < ramp.maxPerMinute) {
    const step = Math.min(left, ramp.everySucceeded);
    seconds += (step / current) * 60;
    left -= step;
    current = Math.min(ramp.maxPerMinute, current * ramp.factor);
    // It would never get anywhere else.
    if (ramp.factor <= 1) break;
  }
  return seconds + (left / current) * 60;
}

const round = (seconds: number) => Math.round(seconds * 10) / 10;
