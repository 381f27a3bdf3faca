/** Which schedules each board shall run by itself, and a hash that stands for the whole list. Pure. */
import { createHash } from 'node:crypto';
import type { ScheduleRow } from '../../common/db/queries/schedule-rows.ts';
import type { BoardSchedule } from '../../common/wamp/board-schedules.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';

export interface BoardList {
  /** Lower-case hex. */
  hash: string;
  schedules: BoardSchedule[];
}

export const emptyList: BoardList = toList([]);

/**
 * Lists of the boards that schedules go to. Boards with the same schedules share one list. A board that
 * has more than it can hold gets the oldest ones.
 * @param targets schedules of one tenant, each with its boards
 */
export function planLists(
  targets: readonly { schedule: ScheduleRow; boards: readonly string[] }[],
): Map<string, BoardList> {
  const ofBoard = new Map<string, ScheduleRow[]>();
  const inOrder = [...targets].sort((left, right) => byAge(left.schedule, right.schedule));
  for (const { schedule, boards } of inOrder)
    for (const board of boards) {
      const own = ofBoard.get(board);
      if (!own) ofBoard.set(board, [schedule]);
      else if (own.length < operationLimits.schedules) own.push(schedule);
    }
  const lists = new Map<string, BoardList>();
  const shared = new Map<string, BoardList>();
  for (const [board, schedules] of ofBoard) {
    const key = schedules.map(({ id }) => id).join();
    const list = shared.get(key) ?? toList(schedules.map(toBoardSchedule));
    shared.set(key, list);
    lists.set(board, list);
  }
  return lists;
}

function byAge(left: ScheduleRow, right: ScheduleRow): number {
  return left.createdAt.getTime() - right.createdAt.getTime() || (left.id < right.id ? -1 : 1);
}

function toBoardSchedule(row: ScheduleRow): BoardSchedule {
  const { id, version, timing, operation, jitterSeconds, overlap, catchUp, updatedAt } = row;
  const { procedure, kwargs, deadlineSeconds } = operation;
  return {
    scheduleId: id,
    version,
    timing,
    procedure,
    kwargs,
    deadlineSeconds,
    jitterSeconds,
    overlap,
    catchUp,
    // Each change counts the due times anew.
    after: updatedAt.getTime(),
  };
}

function toList(schedules: BoardSchedule[]): BoardList {
  return { hash: createHash('sha256').update(JSON.stringify(schedules)).digest('hex'), schedules };
}
