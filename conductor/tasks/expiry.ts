/**
 * Ends what is over its deadline: `expired` what was never sent, `unknown` what was sent and whose
 * board has said no end within the grace. Boards are not needed for that, so nobody's queue is taken.
 */
import type { EntityManager } from 'typeorm';
import { readyBoards } from '../../common/db/queries/board-queues.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { endOperations } from '../../common/db/queries/operation-ends.ts';
import type { TargetState } from '../../common/operations/states.ts';
import type { ReportError } from '../../common/wamp/operations.ts';
import { noReport, tooLate } from '../engine/decide.ts';
import type { PlannedChange } from '../engine/views.ts';
import { writeOutcomes } from '../engine/write-outcomes.ts';
import type { TaskContext } from '../scheduler.ts';
import type { Budget } from './chunks.ts';

const targetsAtOnce = 500;
/** No board is held, so none is given back. */
const nobody = '';

interface OverdueTarget {
  boardUuid: string;
  operationId: string;
  tenantId: string;
  state: TargetState;
  version: number;
  attempt: number;
  targetCount: number;
}

const columns = `t.board_uuid AS boardUuid, t.operation_id AS operationId, t.tenant_id AS tenantId, t.state, t.version,
  t.attempt, o.target_count AS targetCount`;

/** Held back or queued, and past the deadline. */
const findUnsent = (queue: 0 | 1) => (manager: EntityManager) =>
  manager.query(
    `SELECT ${columns} FROM operation_targets t JOIN operations o ON o.id = t.operation_id
     WHERE t.queue = ? AND t.deadline_at <= UTC_TIMESTAMP(3) AND t.state = 'queued'
     ORDER BY t.deadline_at LIMIT ?`,
    [queue, targetsAtOnce],
  ) as Promise<OverdueTarget[]>;

const findSilent = (graceMs: number) => (manager: EntityManager) =>
  manager.query(
    `SELECT ${columns} FROM operation_targets t JOIN operations o ON o.id = t.operation_id
     WHERE t.queue = 1 AND t.deadline_at <= UTC_TIMESTAMP(3) - INTERVAL ? * 1000 MICROSECOND
       AND t.state IN ('dispatched', 'accepted', 'running')
     ORDER BY t.deadline_at LIMIT ?`,
    [graceMs, targetsAtOnce],
  ) as Promise<OverdueTarget[]>;

const silent: ReportError = { code: 'no-report', message: noReport };

/** Answers with how many ended. */
export async function endOverdue(context: TaskContext, budget: Budget, graceMs: number): Promise<number> {
  let ended = 0;
  for (const [find, state, error] of [
    [findUnsent(1), 'expired', tooLate],
    [findUnsent(0), 'expired', tooLate],
    [findSilent(graceMs), 'unknown', silent],
  ] as const)
    while (!budget.spent()) {
      const targets = await context.database.read(find);
      const done = await endTargets(context, targets, state, error);
      ended += done;
      // What changed at the same moment is looked at by the next run.
      if (targets.length < targetsAtOnce || done === 0) break;
    }
  return ended;
}

/** By compare-and-set; answers with how many were still as they were read. */
export async function endTargets(
  context: TaskContext,
  targets: readonly OverdueTarget[],
  state: 'expired' | 'unknown' | 'cancelled',
  error: ReportError,
): Promise<number> {
  if (targets.length === 0) return 0;
  const changes = targets.map(
    ({ state: from, attempt, targetCount, ...key }): PlannedChange => ({
      ...key,
      isOnly: targetCount === 1,
      from,
      set: { state, error: { ...error } },
      event: { kind: state, ...(attempt > 0 && { attempt }), evidence: { error } },
    }),
  );
  const underWay = targets.filter(({ state: from }) => from !== 'queued');
  const { lost, mayHaveEnded } = await context.write(async (manager) => {
    // The next one of their boards may be sent now.
    await readyBoards(manager, underWay);
    return writeOutcomes(manager, nobody, { changes, releases: [], now: 0 });
  });
  if (mayHaveEnded.length > 0)
    await context.write(async (manager) => appendEvents(manager, await endOperations(manager, mayHaveEnded)));
  return targets.length - lost.length;
}

/** Open targets of a board, whether they are in its queue or held back. */
export function findOpenOfBoard(manager: EntityManager, boardUuid: string): Promise<OverdueTarget[]> {
  return manager.query(
    `SELECT ${columns} FROM operation_targets t JOIN operations o ON o.id = t.operation_id
     WHERE t.board_uuid = ? AND t.queue IN (0, 1) LIMIT ?`,
    [boardUuid, targetsAtOnce],
  );
}
