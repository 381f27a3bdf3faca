/**
 * What operations need beside being sent, every second: targets of large ones written, deadlines kept,
 * rollouts moved on, and ends written that a crash left out. One task, so that it costs one row of
 * `task_runs` a second; a step that fails holds up no other.
 */
import type { EntityManager } from 'typeorm';
import { appendEvents } from '../../common/db/queries/events.ts';
import { endOperations } from '../../common/db/queries/operation-ends.ts';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';
import { createBudget } from './chunks.ts';
import { expandOperations } from './expand.ts';
import { endOverdue } from './expiry.ts';
import { moveRollouts } from './rollouts.ts';

export interface OperationSteps {
  graceMs: number;
  /** Boards have got something to do. */
  onQueued: () => void;
}

const stepMs = 3000;

export async function keepOperations(
  context: TaskContext,
  { graceMs, onQueued }: OperationSteps,
): Promise<JsonObject> {
  const budget = () => createBudget(context, stepMs);
  const steps: Record<string, () => Promise<unknown>> = {
    expired: () => endOverdue(context, budget(), graceMs),
    expanded: () => expandOperations(context, budget(), onQueued),
    rollouts: () => moveRollouts(context, budget(), onQueued),
  };
  const detail: JsonObject = {};
  for (const [name, step] of Object.entries(steps))
    try {
      const done = await step();
      if (done !== 0) detail[name] = done;
    } catch (error) {
      context.signal.throwIfAborted();
      context.logger.warn({ err: error, step: name }, 'a step for operations failed, will run again');
      detail[name] = { error: messageOf(error).slice(0, 200) };
    }
  return detail;
}

const operationsAtOnce = 500;

/**
 * Operations of several targets, all of which ended while nobody wrote the end of the whole: the
 * process that ended the last one died between two transactions.
 */
export async function sweepOperations(context: TaskContext): Promise<JsonObject> {
  const budget = createBudget(context, stepMs);
  let ended = 0;
  for (let after = { count: 1, id: '' }; !budget.spent(); ) {
    const from = after;
    const rows = await context.database.read((manager) => findActive(manager, from));
    const over = rows.filter(({ isOver }) => Number(isOver) === 1).map(({ id }) => id);
    if (over.length > 0)
      await context.write(async (manager) => {
        const events = await endOperations(manager, over);
        await appendEvents(manager, events);
        ended += events.length;
      });
    const last = rows.at(-1);
    if (!last || rows.length < operationsAtOnce) return { ended, complete: true };
    after = { count: last.targetCount, id: last.id };
  }
  return { ended, complete: false };
}

/** Those with several targets, by their number: the index has them in this order. */
function findActive(
  manager: EntityManager,
  after: { count: number; id: string },
): Promise<{ id: string; targetCount: number; isOver: number | string }[]> {
  return manager.query(
    `SELECT o.id, o.target_count AS targetCount,
            NOT EXISTS (SELECT 1 FROM operation_targets t WHERE t.operation_id = o.id
                        AND t.state IN ('queued', 'dispatched', 'accepted', 'running')) AS isOver
     FROM operations o WHERE o.state = 'active' AND o.target_count >= ? AND o.target_count > 1
       AND (o.target_count > ? OR o.id > ?)
     ORDER BY o.target_count, o.id LIMIT ?`,
    [after.count, after.count, after.id, operationsAtOnce],
  );
}
