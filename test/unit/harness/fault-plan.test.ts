import { describe, expect, it } from 'vitest';
import { createFaultPlan } from '../../harness/fault-plan.ts';

const options = {
  seed: 42,
  durationMs: 60_000,
  everyMs: 2000,
  processes: ['conductor', 'mariadb'],
  boardProcesses: 4,
  boards: 200,
  awayShare: 0.2,
};

describe('a plan of faults', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(createFaultPlan(options)).toEqual(createFaultPlan(options));
    expect(createFaultPlan({ ...options, seed: 43 })).not.toEqual(createFaultPlan(options));
  });

  it('keeps within its time, in order, and begins with the boards that are away', () => {
    const plan = createFaultPlan(options);
    expect(plan[0]).toMatchObject({ at: 0, kind: 'hold-boards' });
    expect(plan.map(({ at }) => at)).toEqual(plan.map(({ at }) => at).toSorted((a, b) => a - b));
    expect(plan.at(-1)?.at).toBeLessThan(options.durationMs);
    expect(plan.length).toBeGreaterThan(15);
  });

  it('names only victims that there are, and a fifth of the boards, each once', () => {
    for (const { kind, victim, boards } of createFaultPlan({ ...options, durationMs: 600_000 })) {
      if (kind === 'kill') expect(options.processes).toContain(victim);
      if (kind === 'kill-boards') expect(Number(victim)).toBeLessThan(4);
      if (kind !== 'hold-boards') continue;
      expect(new Set(boards).size).toBe(40);
      expect(Math.max(...(boards ?? []))).toBeLessThan(200);
    }
  });
});
