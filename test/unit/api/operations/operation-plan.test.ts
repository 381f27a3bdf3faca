import { describe, expect, it } from 'vitest';
import type { Schemas } from '../../../../api/http/operation.ts';
import {
  expectedSeconds,
  type PlannedOperation,
  planHash,
  requirePlan,
  toPlan,
} from '../../../../api/operations/operation-plan.ts';
import { parseOperationRequest } from '../../../../api/operations/operation-request.ts';
import type { IncludedBoard } from '../../../../common/db/queries/operation-targets.ts';

const now = Date.UTC(2026, 10, 25, 12);
const boards = (...names: string[]): IncludedBoard[] =>
  names.map((name) => ({ uuid: `uuid-${name}`, name, status: 'online', safety: 'idempotent' }));
const rollout: Schemas['RolloutOptions'] = {
  waves: [{ count: 1 }, { percent: 100 }],
  successPercent: 100,
  approval: 'none',
};
const body: Schemas['OperationCreation'] = {
  procedure: 'reboot',
  kwargs: { b: 1, a: 2 },
  target: { selector: 'site' },
  delivery: 'rollout',
  rollout,
  attempts: 1,
  parallel: false,
  strict: false,
};
const planned = (
  values: Partial<Schemas['OperationCreation']> = {},
  included = boards('a', 'b', 'c'),
): PlannedOperation => ({
  tenantId: 't',
  request: parseOperationRequest({ ...body, ...values }, now),
  resolved: { included, excluded: [], faults: [] },
});

describe('the hash of a plan', () => {
  it('is the same for the same request, however it is spelled, and whenever it is asked for', () => {
    const other = { ...planned({ kwargs: { a: 2, b: 1 } }) };
    other.request = parseOperationRequest({ ...body, kwargs: { a: 2, b: 1 } }, now + 60_000);
    expect(planHash(other)).toBe(planHash(planned()));
    expect(planHash(planned())).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is another for other boards, another order of them in the waves, or another request', () => {
    const hashes = [
      planned(),
      planned({}, boards('a', 'b')),
      planned({}, boards('b', 'a', 'c')),
      planned({ procedure: 'halt' }),
      planned({ kwargs: { b: 1 } }),
      planned({ attempts: 2 }),
      planned({ rollout: { ...rollout, waves: [{ count: 2 }, { percent: 100 }] } }),
      { ...planned(), tenantId: 'u' },
      {
        ...planned(),
        resolved: {
          included: boards('a', 'b', 'c'),
          excluded: [{ uuid: 'x', name: 'x', reason: 'board-revoked' as const, detail: '' }],
          faults: [],
        },
      },
    ].map(planHash);
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it('is not touched by the order of boards without waves', () => {
    const flat = (...names: string[]) =>
      planHash({
        tenantId: 't',
        request: parseOperationRequest(
          {
            procedure: 'p',
            target: { selector: 's' },
            delivery: 'now',
            attempts: 1,
            parallel: false,
            strict: false,
          },
          now,
        ),
        resolved: { included: boards(...names), excluded: [], faults: [] },
      });
    expect(flat('a', 'b')).toBe(flat('b', 'a'));
  });

  it('is demanded for a rollout, and must be the one of now', () => {
    const refusal = (plan: PlannedOperation) => {
      try {
        requirePlan(plan);
        return undefined;
      } catch (error) {
        return error as { code: string; details: Record<string, unknown> };
      }
    };
    expect(refusal(planned())?.code).toBe('invalid-request');
    const plan = planHash(planned());
    expect(refusal(planned({ plan }))).toBeUndefined();
    const changed = refusal(planned({ plan }, boards('a', 'b', 'c', 'd')));
    expect(changed?.code).toBe('plan-changed');
    expect(changed?.details.plan).toMatchObject({ count: 4, excludedCount: 0, waves: [1, 3] });
  });
});

describe('a plan', () => {
  it('tells the wave of each board', () => {
    const plan = toPlan(planned(), undefined, now);
    expect(plan.waves).toEqual([1, 2]);
    expect(plan.targets.map(({ name, wave }) => [name, wave])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 2],
    ]);
    expect(plan).toMatchObject({ count: 3, online: 3, unverified: 0, excluded: [], expectedSeconds: null });
  });

  it('shows a hundred boards and counts all', () => {
    const names = Array.from({ length: 250 }, (_, index) => `b${index}`);
    const plan = toPlan(planned({}, boards(...names)), undefined, now);
    expect([plan.count, plan.targets.length]).toEqual([250, 100]);
  });
});

describe('the time that it is expected to take', () => {
  const given = { window: null, rollout: null, waves: [] as number[], procedureSeconds: undefined, now };

  it('is not known when nothing is', () => {
    expect(expectedSeconds(given)).toBeNull();
  });

  it('is that of the procedure, once a wave', () => {
    expect(expectedSeconds({ ...given, procedureSeconds: 2 })).toBe(2);
    expect(expectedSeconds({ ...given, procedureSeconds: 2, waves: [1, 9, 90] })).toBe(6);
  });

  it('has the rate in it, and its growth', () => {
    const waves = [300];
    expect(expectedSeconds({ ...given, waves, rollout: { rate: { perMinute: 60 } } })).toBe(300);
    const ramp = { factor: 2, everySucceeded: 100, maxPerMinute: 240 };
    // 100 at 60, 100 at 120, 100 at 240 a minute.
    expect(expectedSeconds({ ...given, waves, rollout: { rate: { perMinute: 60, ramp } } })).toBe(175);
  });

  it('begins when the window opens', () => {
    const window = { from: '13:00', to: '14:00', timeZone: 'UTC' };
    expect(expectedSeconds({ ...given, window, procedureSeconds: 1 })).toBe(3601);
  });
});
