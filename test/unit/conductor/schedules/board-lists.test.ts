import { describe, expect, it } from 'vitest';
import type { ScheduleRow } from '../../../../common/db/queries/schedule-rows.ts';
import { parseBoardSchedules } from '../../../../common/wamp/board-schedules.ts';
import { operationLimits } from '../../../../common/wamp/operation-limits.ts';
import { emptyList, planLists } from '../../../../conductor/schedules/board-lists.ts';

const idOf = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;

function schedule(number: number, more: Partial<ScheduleRow> = {}): ScheduleRow {
  const at = new Date(Date.UTC(2026, 0, 1) + number);
  return {
    id: idOf(number),
    tenantId: idOf(0),
    name: `s-${number}`,
    state: 'active',
    timing: { kind: 'interval', everySeconds: 60, from: 0 },
    jitterSeconds: 0,
    overlap: 'skip',
    catchUp: { mode: 'last', limit: 1 },
    offline: true,
    operation: {
      procedure: 'ping',
      kwargs: {},
      target: { selector: 'a' },
      delivery: 'when-online',
      window: null,
      deadlineSeconds: 60,
      attempts: 1,
      parallel: false,
    },
    nextAt: null,
    lastDueAt: null,
    lastError: null,
    createdBy: 'test',
    author: null,
    version: 1,
    createdAt: at,
    updatedAt: at,
    ...more,
  };
}

const idsOf = (list: { schedules: { scheduleId: string }[] } | undefined) =>
  list?.schedules.map(({ scheduleId }) => scheduleId);

describe('the lists of boards', () => {
  it('hold the schedules of each board, oldest first, as a board reads them', () => {
    const lists = planLists([
      { schedule: schedule(2), boards: ['b', 'c'] },
      { schedule: schedule(1), boards: ['a', 'b'] },
    ]);
    expect(idsOf(lists.get('a'))).toEqual([idOf(1)]);
    expect(idsOf(lists.get('b'))).toEqual([idOf(1), idOf(2)]);
    expect(idsOf(lists.get('c'))).toEqual([idOf(2)]);
    const { schedules = [] } = lists.get('b') ?? {};
    expect(parseBoardSchedules({ schedules })).toEqual(schedules);
  });

  it('have one hash for the same content, whatever order the rows came in, and another for any change', () => {
    const given = [
      { schedule: schedule(1), boards: ['a'] },
      { schedule: schedule(2), boards: ['a'] },
    ];
    const hash = planLists(given).get('a')?.hash;
    expect(planLists([...given].reverse()).get('a')?.hash).toBe(hash);
    const changed = { schedule: schedule(2, { version: 2 }), boards: ['a'] };
    expect(planLists([{ schedule: schedule(1), boards: ['a'] }, changed]).get('a')?.hash).not.toBe(hash);
    expect(emptyList.hash).not.toBe(hash);
  });

  it('never hold more than a board takes', () => {
    const many = Array.from({ length: operationLimits.schedules + 5 }, (_, index) => ({
      schedule: schedule(index + 1),
      boards: ['a'],
    }));
    const ids = idsOf(planLists(many.reverse()).get('a')) ?? [];
    expect(ids).toHaveLength(operationLimits.schedules);
    expect([ids[0], ids.at(-1)]).toEqual([idOf(1), idOf(operationLimits.schedules)]);
  });
});
