import { describe, expect, it } from 'vitest';
import { isUuid } from '../../../../common/runtime/guards.ts';
import { timeUuid } from '../../../../common/runtime/time-uuid.ts';
import { scheduledOperationId } from '../../../../common/wamp/board-schedules.ts';

const schedule = '3f0c5a52-6f53-4d4e-9f64-6b9b3d2f1c11';

describe('the operation id of a due time', () => {
  it('is the same uuid wherever it is computed', () => {
    expect(scheduledOperationId(schedule, 1_795_608_000_000)).toBe(
      scheduledOperationId(schedule, 1_795_608_000_000),
    );
    expect(isUuid(scheduledOperationId(schedule, 0))).toBe(true);
    expect(scheduledOperationId(schedule, 0)).toMatch(/^.{14}8.{4}[89ab]/);
  });

  it('takes its turn among the ids of other operations by the due time', () => {
    const dueAt = 1_795_608_000_000;
    const id = scheduledOperationId(schedule, dueAt);
    expect(timeUuid(dueAt - 1) < id).toBe(true);
    expect(id < timeUuid(dueAt + 1)).toBe(true);
    expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(dueAt);
    expect(isUuid(scheduledOperationId(schedule, 8_640_000_000_000_000))).toBe(true);
  });

  it('differs by schedule and by time', () => {
    const ids = [0, 1, 1_000].flatMap((dueAt) =>
      [schedule, schedule.replace('3f', '4f')].map((each) => scheduledOperationId(each, dueAt)),
    );
    expect(new Set(ids).size).toBe(6);
  });
});
