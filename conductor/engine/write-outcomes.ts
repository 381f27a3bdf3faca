/**
 * What was decided for many boards, in one transaction: the targets' changes, the ends of operations
 * that have one target, the boards given back, and the live events as the last statement.
 */
import type { EntityManager } from 'typeorm';
import { type BoardRelease, releaseBoards } from '../../common/db/queries/board-queues.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { changeTargets, type TargetKey } from '../../common/db/queries/operation-changes.ts';
import { isEnded } from '../../common/operations/states.ts';
import type { PlannedChange } from './views.ts';

export interface Written {
  /** Changes that met a newer version of their target. */
  lost: PlannedChange[];
  /** Operations that have ended with this transaction. */
  ended: string[];
  /** Operations of several targets, one of which ended: for endOperations after the commit. */
  mayHaveEnded: string[];
  /** As they were written: boards of lost changes are due at once. */
  releases: BoardRelease[];
}

export async function writeOutcomes(
  manager: EntityManager,
  owner: string,
  outcomes: { changes: readonly PlannedChange[]; releases: readonly BoardRelease[]; now: number },
): Promise<Written> {
  const { changes, now } = outcomes;
  const { applied, ended, events } = await changeTargets(manager, changes);
  const held = new Set(applied.map(keyOf));
  const lost = changes.filter((each) => !held.has(keyOf(each)));
  const ending = changes.filter(
    (each) => held.has(keyOf(each)) && each.set.state !== undefined && isEnded(each.set.state),
  );
  const unsettled = new Set(lost.map(({ boardUuid }) => boardUuid));
  const releases = outcomes.releases.map((each) =>
    unsettled.has(each.board.boardUuid) ? { ...each, nextAt: now, hasOpen: true } : each,
  );
  if (releases.length > 0) await releaseBoards(manager, owner, releases);
  await appendEvents(manager, events);
  return {
    lost,
    ended,
    mayHaveEnded: operationsOf(ending.filter(({ isOnly }) => !isOnly)),
    releases,
  };
}

export const keyOf = ({ boardUuid, operationId }: TargetKey) => `${boardUuid} ${operationId}`;

const operationsOf = (changes: readonly PlannedChange[]) => [
  ...new Set(changes.map(({ operationId }) => operationId)),
];
