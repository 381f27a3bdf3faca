/**
 * Overlap `cancel-previous`: what earlier due times made is cancelled as by hand, ahead of the
 * transaction that makes the next one. It may be done again, by another conductor or after a kill: it
 * never touches the operation of this due time or a later one.
 */
import { cancelTargets, stopPreparing } from '../../common/db/queries/operation-cancel.ts';
import type { TaskContext } from '../scheduler.ts';
import { type DueSchedule, findOpenOperations } from './schedule-queries.ts';

/** Answers with the operations that were cancelled. */
export async function cancelPrevious(
  { database }: TaskContext,
  { id: scheduleId, tenantId }: DueSchedule,
  step: { dueAt: number; isLate: boolean },
): Promise<string[]> {
  const open = await database.read((manager) => findOpenOperations(manager, scheduleId, step));
  for (const id of open) {
    const options = { boards: null, evidence: { by: `schedule:${scheduleId}` } };
    const isOver = await stopPreparing(database, { id, tenantId }, options);
    if (!isOver) await cancelTargets(database, { id }, options);
  }
  return open;
}
