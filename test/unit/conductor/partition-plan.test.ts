import { describe, expect, it } from 'vitest';
import { dayMs } from '../../../common/db/queries/partitions.ts';
import { daysAhead, planPartitions, retentionCutoff } from '../../../conductor/tasks/partition-plan.ts';

const today = Date.UTC(2026, 10, 22);
const now = today + 5 * 3_600_000;
const partition = (day: number) => ({ name: `x${day}`, beforeAt: today + (day + 1) * dayMs });
const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => partition(from + index));

describe('the plan of partitions', () => {
  it('adds the days that are missing ahead, named by the day they hold', () => {
    const { add, drop } = planPartitions(range(-1, 7), now, 400);
    expect(add.map(({ name }) => name)).toEqual(['p20261130', 'p20261201', 'p20261202']);
    expect(add.at(-1)?.beforeAt).toBe(today + (daysAhead + 1) * dayMs);
    expect(drop).toEqual([]);
  });

  it('closes a long absence without a hole', () => {
    const { add } = planPartitions(range(-50, -40), now, 400);
    expect(add).toHaveLength(40 + daysAhead);
    expect(add[0]?.beforeAt).toBe(today - 38 * dayMs);
  });

  it('adds nothing when all is there', () => {
    expect(planPartitions(range(-1, daysAhead), now, 400)).toEqual({ add: [], drop: [] });
  });

  it('drops what ended before the retention, and keeps the day that it cuts through', () => {
    const { drop } = planPartitions(range(-10, daysAhead), now, 7);
    expect(drop.map(({ name }) => name)).toEqual(['x-10', 'x-9', 'x-8']);
    expect(Math.max(...drop.map(({ beforeAt }) => beforeAt))).toBe(retentionCutoff(now, 7));
  });

  it('never drops the last one, because days are only added behind it', () => {
    expect(planPartitions([partition(-30)], now, 7).drop).toEqual([]);
  });
});
