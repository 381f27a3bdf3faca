/**
 * Takes boards whose turn it is and decides what is to be done for each, in one transaction: a board
 * that was taken has its dispatches on record before anything is sent. What needs no call is done
 * with that, and its board given back in the same transaction.
 */
import type { EntityManager } from 'typeorm';
import { type BoardRelease, holdBoards } from '../../common/db/queries/board-queues.ts';
import { type DecideRules, decide, type PlannedCall } from './decide.ts';
import { type LoadedBoard, loadBoards, type SafetyCache } from './load.ts';
import type { Outcome } from './outcomes.ts';
import { changed, type OpenTarget, type PlannedChange } from './views.ts';
import { keyOf, type Written, writeOutcomes } from './write-outcomes.ts';

/** A board that is held and is to be called. */
export interface BoardWork {
  loaded: LoadedBoard;
  /** As they stand after the dispatch. */
  targets: OpenTarget[];
  calls: PlannedCall[];
  /** Something changed while it was dispatched: it is due again when it is given back. */
  isUnsettled: boolean;
}

export interface Claim {
  works: BoardWork[];
  written: Written;
  taken: number;
  /** Database's clock, epoch milliseconds; undefined when nothing was taken. */
  now: number | undefined;
}

export interface ClaimOptions {
  owner: string;
  leaseSeconds: number;
  /** Boards of these lanes only. */
  lanes?: readonly (0 | 1)[];
  rules: DecideRules;
  safeties: SafetyCache;
  /** A board that cannot be decided on. */
  onFault: (error: unknown, boardUuid: string) => void;
}

export async function claimBoards(
  manager: EntityManager,
  boardUuids: readonly string[],
  options: ClaimOptions,
): Promise<Claim> {
  const { owner, rules } = options;
  const taken = await holdBoards(manager, owner, boardUuids, options);
  if (taken === 0) return { works: [], written: nothing, taken, now: undefined };
  const { now, boards } = await loadBoards(manager, owner, boardUuids, options.safeties);
  const changes: PlannedChange[] = [];
  const releases: BoardRelease[] = [];
  const works: BoardWork[] = [];
  for (const loaded of boards.values()) {
    try {
      const plan = decide(loaded.view, loaded.targets, now, rules);
      const targets = afterChanges(loaded.targets, plan.changes);
      if (plan.calls.length === 0) releases.push(releaseOf(loaded, targets, now, rules));
      else works.push({ loaded, targets, calls: plan.calls, isUnsettled: false });
      changes.push(...plan.changes);
    } catch (error) {
      // A fault of ours: the others go on, and this board is looked at again.
      options.onFault(error, loaded.held.boardUuid);
      releases.push({ board: loaded.held, nextAt: now + faultRestMs, hasOpen: true });
    }
  }
  const written = await writeOutcomes(manager, owner, { changes, releases, now });
  return { works: withoutLost(works, written.lost), written, taken, now };
}

const nothing: Written = { lost: [], ended: [], mayHaveEnded: [], releases: [] };
const faultRestMs = 60_000;

/** Targets that changed meanwhile are not called: the next look at their board sees them as they are. */
export function withoutLost(works: readonly BoardWork[], lost: readonly PlannedChange[]): BoardWork[] {
  if (lost.length === 0) return [...works];
  const keys = new Set(lost.map(keyOf));
  const boards = new Set(lost.map(({ boardUuid }) => boardUuid));
  return works.map((work) => ({
    ...work,
    calls: work.calls.filter((call) => call.kind !== 'run' || !keys.has(keyOf(call.target))),
    isUnsettled: boards.has(work.loaded.held.boardUuid),
  }));
}

export function afterChanges(
  targets: readonly OpenTarget[],
  changes: readonly PlannedChange[],
): OpenTarget[] {
  const byId = new Map(changes.map((change) => [change.operationId, change]));
  return targets.map((target) => {
    const change = byId.get(target.operationId);
    return change ? changed(target, change) : target;
  });
}

/**
 * What can be sent to the board next, to be put on record together with what became of the last: a board
 * with much to do is not given back and taken again for each. Undefined when that is not all there is
 * to do: then whoever takes the board decides. Boards of the drain lane wait for their turn each time.
 */
export function continueWork(
  { loaded, isUnsettled }: BoardWork,
  targets: readonly OpenTarget[],
  outcomes: readonly Outcome[],
  now: number,
  rules: DecideRules,
): { changes: PlannedChange[]; work: BoardWork } | undefined {
  if (isUnsettled || loaded.held.lane === 1 || outcomes.some(({ again }) => again !== undefined))
    return undefined;
  const plan = decide(loaded.view, targets, now, rules);
  const changed = new Set(outcomes.map(({ change }) => change?.operationId));
  const isPlain = plan.calls.length > 0 && plan.calls.every(({ kind }) => kind === 'run');
  // One that has just changed changes once in a transaction.
  if (!isPlain || plan.changes.some(({ operationId }) => changed.has(operationId))) return undefined;
  const work = { loaded, targets: afterChanges(targets, plan.changes), calls: plan.calls, isUnsettled };
  return { changes: plan.changes, work };
}

/** A board that has been asked, or told to stop, reports by itself; if it does not, it is asked again. */
const askAgainMs = 15_000;

/**
 * How a board is given back, its targets being as they are now.
 * @param asked operations that it has just answered questions about
 */
export function releaseOf(
  loaded: LoadedBoard,
  targets: readonly OpenTarget[],
  now: number,
  rules: DecideRules,
  asked: ReadonlySet<string> = new Set(),
): BoardRelease {
  const { changes, calls, nextAt, hasOpen } = decide(loaded.view, targets, now, rules);
  const isAsked = (call: PlannedCall) =>
    call.kind !== 'run' && call.targets.every(({ operationId }) => asked.has(operationId));
  const isDue = changes.length > 0 || calls.some((call) => !isAsked(call));
  // Those beyond were hidden by ones that have gone on now.
  const wentOn = loaded.hasMore && targets.some((each, index) => each !== loaded.targets[index]);
  const times = [
    nextAt,
    loaded.nextNotBefore,
    isDue || wentOn ? now : undefined,
    calls.some(isAsked) ? now + askAgainMs : undefined,
  ];
  const known = times.filter((each) => each !== undefined);
  return {
    board: loaded.held,
    nextAt: known.length === 0 ? undefined : Math.min(...known),
    hasOpen: hasOpen || loaded.hasMore || isDue,
  };
}
