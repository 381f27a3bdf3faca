/**
 * Moves rollouts on. Each step is one transaction that begins with a compare-and-set on the rollout:
 * whoever dies before its commit has done nothing, and the next run decides anew on what there is.
 */
import type { EntityManager } from 'typeorm';
import { readyBoards } from '../../common/db/queries/board-queues.ts';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { changeTargets, type TargetChange } from '../../common/db/queries/operation-changes.ts';
import { endOperations } from '../../common/db/queries/operation-ends.ts';
import {
  changeRollout,
  countWaves,
  findOpenRollouts,
  openWave,
  type Rollout,
  type RolloutChange,
} from '../../common/db/queries/rollouts.ts';
import type { Release } from '../../common/operations/rollout.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { decideRollout, type RolloutStep } from '../rollouts/decide-rollout.ts';
import type { TaskContext } from '../scheduler.ts';
import type { Budget } from './chunks.ts';

const rolloutsAtOnce = 200;
const targetsAtOnce = 1000;

/** Answers with what was done; 0 = nothing. */
export async function moveRollouts(
  context: TaskContext,
  budget: Budget,
  onReleased: () => void,
): Promise<JsonObject | 0> {
  const done = { steps: 0, released: 0, cancelled: 0 };
  for (let after = ''; ; ) {
    const from = after;
    const rollouts = await context.database.read((manager) =>
      findOpenRollouts(manager, from, rolloutsAtOnce),
    );
    for (const rollout of rollouts) {
      // Several steps may be due at once: a wave opens, and all of it is let in.
      for (let current: Rollout | undefined = rollout; current && !budget.spent(); ) {
        const { next, released } = await takeStep(context, current);
        if (next) done.steps += 1;
        if (released > 0) onReleased();
        done.released += released;
        current = next;
      }
    }
    if (budget.spent()) return done;
    after = rollouts.at(-1)?.operationId ?? '';
    if (rollouts.length < rolloutsAtOnce) break;
  }
  done.cancelled = await cancelAborted(context, budget);
  return done.steps + done.cancelled === 0 ? 0 : done;
}

/** `next` is undefined when there is nothing more to do for it now. */
async function takeStep(
  context: TaskContext,
  rollout: Rollout,
): Promise<{ next: Rollout | undefined; released: number }> {
  const step = await context.database.read(async (manager) =>
    decideRollout(rollout, await countWaves(manager, rollout.operationId), await getDatabaseTime(manager)),
  );
  if (step.do === 'nothing') return { next: undefined, released: 0 };
  const change = step.do === 'release' ? undefined : changeOf(rollout, step);
  const written = await context.write(async (manager) => {
    if (step.do === 'release') return release(manager, rollout, step.release);
    const events = change && (await changeRollout(manager, rollout, change));
    if (!events) return undefined;
    await appendEvents(manager, events);
    return 0;
  });
  // Somebody else changed it: the next run sees how.
  if (written === undefined) return { next: undefined, released: 0 };
  const isLast = step.do !== 'open' && step.do !== 'release';
  const version = rollout.version + 1;
  if (isLast) return { next: undefined, released: written };
  if (step.do === 'open')
    return { next: { ...rollout, version, wave: step.wave, released: 0 }, released: written };
  return { next: { ...rollout, version, releasedAt: new Date(step.release.releasedAt) }, released: written };
}

function changeOf(
  rollout: Rollout,
  step: Exclude<RolloutStep, { do: 'release' | 'nothing' }>,
): RolloutChange {
  const { wave } = rollout;
  switch (step.do) {
    case 'open':
      return openWave(rollout, step.wave);
    case 'wait':
      return {
        state: 'waiting',
        reason: step.reason,
        event: { kind: 'waiting-approval', evidence: { wave: wave + 1, reason: step.reason } },
      };
    case 'pause':
      return {
        state: 'paused',
        reason: step.reason,
        event: { kind: 'paused', evidence: { wave, reason: step.reason } },
      };
    case 'abort':
      return {
        state: 'aborted',
        reason: step.reason,
        event: { kind: 'aborted', evidence: { wave, reason: step.reason } },
      };
    case 'finish':
      return { state: 'finished', reason: null, event: { kind: 'finished', evidence: { wave } } };
  }
}

/** Lets targets of the open wave into the queues of their boards; answers with how many. */
async function release(
  manager: EntityManager,
  rollout: Rollout,
  { count, releasedAt }: Release,
): Promise<number | undefined> {
  const { operationId, tenantId, wave } = rollout;
  const rows = (await manager.query(
    `SELECT board_uuid AS boardUuid FROM operation_targets
     WHERE operation_id = ? AND wave = ? AND queue = 0 LIMIT ?`,
    [operationId, wave, Math.min(count, targetsAtOnce)],
  )) as { boardUuid: string }[];
  const events = await changeRollout(manager, rollout, {
    release: { count: rows.length, releasedAt: new Date(releasedAt) },
  });
  if (!events) return undefined;
  if (rows.length === 0) return 0;
  const boards = rows.map(({ boardUuid }) => boardUuid).sort();
  await manager.query(
    `UPDATE operation_targets SET queue = 1, version = version + 1, updated_at = UTC_TIMESTAMP(3)
     WHERE board_uuid IN (?) AND operation_id = ? AND queue = 0`,
    [boards, operationId],
  );
  await readyBoards(
    manager,
    boards.map((boardUuid) => ({ boardUuid, tenantId })),
  );
  return boards.length;
}

interface UnsentTarget {
  boardUuid: string;
  operationId: string;
  tenantId: string;
  version: number;
  reason: string | null;
}

/** Of aborted rollouts, what was not sent is cancelled; what is under way goes on. */
async function cancelAborted(context: TaskContext, budget: Budget): Promise<number> {
  let cancelled = 0;
  while (!budget.spent()) {
    const targets = await context.database.read(findUnsent);
    if (targets.length === 0) break;
    const applied = await context.write((manager) => cancel(manager, targets));
    cancelled += applied;
    const operations = [...new Set(targets.map(({ operationId }) => operationId))];
    await context.write(async (manager) => appendEvents(manager, await endOperations(manager, operations)));
    // All of them changed at the same moment: the next run looks again.
    if (applied === 0) break;
  }
  return cancelled;
}

async function findUnsent(manager: EntityManager): Promise<UnsentTarget[]> {
  const rollouts = (await manager.query(
    `SELECT r.operation_id AS operationId, r.reason FROM rollouts r JOIN operations o ON o.id = r.operation_id
     WHERE r.state = 'aborted' AND o.state = 'active'`,
  )) as { operationId: string; reason: string | null }[];
  for (const { operationId, reason } of rollouts) {
    const rows = (await manager.query(
      `SELECT board_uuid AS boardUuid, operation_id AS operationId, tenant_id AS tenantId, version
       FROM operation_targets WHERE operation_id = ? AND state = 'queued' LIMIT ?`,
      [operationId, targetsAtOnce],
    )) as Omit<UnsentTarget, 'reason'>[];
    if (rows.length > 0) return rows.map((row) => ({ ...row, reason }));
  }
  return [];
}

async function cancel(manager: EntityManager, targets: readonly UnsentTarget[]): Promise<number> {
  const changes = targets.map(({ reason, ...key }): TargetChange => {
    const error = { code: 'cancelled', message: `the rollout was aborted: ${reason ?? 'no reason given'}` };
    return {
      ...key,
      from: 'queued',
      set: { state: 'cancelled', error },
      event: { kind: 'cancelled', evidence: { error } },
    };
  });
  const { applied, events } = await changeTargets(manager, changes);
  await appendEvents(manager, events);
  return applied.length;
}
