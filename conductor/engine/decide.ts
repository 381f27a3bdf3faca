/**
 * What is to be done for a board now: pure, so that every case can be looked at by itself.
 *
 *   queued       ends (cancelled, expired, refused), waits (for a time, its window, the board, or the
 *                one before it), or is sent
 *   dispatched   nobody holds the board, so whoever sent it is gone or got no answer: what may be
 *                repeated is sent again as the same attempt, of the rest the board is asked
 *   accepted,    the board will report by itself; when it has a new session since, it is asked
 *   running
 *   unknown      in the queue only when somebody wants to know: its board is asked
 *
 * One target of a board is under way at a time, oldest first; `parallel` ones neither wait nor are
 * waited for. What waits for a time, or for its window, lets the others go before it.
 */
import { nextDelivery } from '../../common/operations/apply-report.ts';
import { isEnded, type TargetState } from '../../common/operations/states.ts';
import { windowState } from '../../common/operations/window.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { ReportError } from '../../common/wamp/operations.ts';
import { type BoardView, changed, changeOf, type OpenTarget, type PlannedChange } from './views.ts';

export interface DecideRules {
  /** So long after its deadline a delivered target without news becomes `unknown`. */
  graceMs: number;
  /** Parallel targets sent in one go. */
  maxRuns: number;
  /** Who decides, for the evidence. */
  conductor: string;
}

export type PlannedCall =
  | { kind: 'run'; target: OpenTarget }
  | { kind: 'ask' | 'cancel'; targets: OpenTarget[] };

export interface BoardPlan {
  /** To be committed before anything is called. */
  changes: PlannedChange[];
  /** With the targets as they stand after the changes. */
  calls: PlannedCall[];
  /** When there is something to do again, epoch milliseconds; undefined = when something comes in. */
  nextAt: number | undefined;
  /** Something is left that the board's return would set going. */
  hasOpen: boolean;
}

type Verdict =
  | { do: 'end'; state: TargetState; error: ReportError; evidence?: JsonObject }
  | { do: 'wait'; until?: number; change?: PlannedChange }
  | { do: 'send' | 'repeat' | 'ask' | 'cancel' };

/** @param targets those in the board's queue, oldest first */
export function decide(
  board: BoardView,
  targets: readonly OpenTarget[],
  now: number,
  rules: DecideRules,
): BoardPlan {
  const plan: BoardPlan = { changes: [], calls: [], nextAt: undefined, hasOpen: false };
  const questions: Record<'ask' | 'cancel', OpenTarget[]> = { ask: [], cancel: [] };
  const turn = { isTaken: targets.some((each) => isUnderWay(each) && !each.operation.parallel), runs: 0 };
  const later = (at: number) => {
    plan.nextAt = Math.min(plan.nextAt ?? at, at);
  };
  for (const target of targets) {
    const isUnknown = target.state === 'unknown';
    if (isEnded(target.state) && !isUnknown) continue;
    const verdict = isUnknown
      ? judgeUnknown(board, target)
      : isUnderWay(target)
        ? judgeUnderWay(board, target, now, rules)
        : judgeQueued(board, target, now, turn.isTaken);
    if (verdict.do === 'end') {
      plan.changes.push(endOf(target, verdict, rules));
      continue;
    }
    plan.hasOpen = true;
    if (verdict.do === 'wait') {
      if (verdict.change) plan.changes.push(verdict.change);
      if (verdict.until !== undefined) later(verdict.until);
    } else if (verdict.do === 'ask' || verdict.do === 'cancel') questions[verdict.do].push(target);
    else if (turn.runs >= rules.maxRuns) later(now);
    else {
      turn.runs += 1;
      turn.isTaken ||= !target.operation.parallel;
      const change = dispatchOf(board, target, now, rules, verdict.do === 'repeat');
      plan.changes.push(change);
      plan.calls.push({ kind: 'run', target: changed(target, change) });
    }
  }
  for (const kind of ['ask', 'cancel'] as const)
    if (questions[kind].length > 0) plan.calls.push({ kind, targets: questions[kind] });
  return plan;
}

const isUnderWay = ({ state }: OpenTarget) =>
  state === 'dispatched' || state === 'accepted' || state === 'running';

function judgeQueued(board: BoardView, target: OpenTarget, now: number, isTaken: boolean): Verdict {
  const { operation, notBefore } = target;
  if (board.status === undefined)
    return { do: 'end', state: 'cancelled', error: boardError('board-deleted', 'the board was deleted') };
  if (target.cancelRequested)
    return {
      do: 'end',
      state: 'cancelled',
      error: { code: 'cancelled', message: 'cancelled before it was sent' },
    };
  if (board.status === 'revoked')
    return { do: 'end', state: 'failed', error: boardError('board-revoked', 'the board is revoked') };
  if (target.deadlineAt.getTime() <= now) return { do: 'end', state: 'expired', error: tooLate };
  if (notBefore && notBefore.getTime() > now) return { do: 'wait', until: notBefore.getTime() };
  const opensAt = closedUntil(target, now);
  if (opensAt !== undefined)
    return { do: 'wait', until: opensAt, change: changeOf(target, { notBefore: new Date(opensAt) }) };
  if (!board.session || board.status !== 'online') {
    if (operation.delivery !== 'now') return { do: 'wait' };
    const lastSeenAt = board.lastSeenAt?.toISOString() ?? null;
    const message = 'the board was not online, and delivery is "now"';
    return { do: 'end', state: 'failed', error: { code: 'board-offline', message, details: { lastSeenAt } } };
  }
  if (isTaken && !operation.parallel) return { do: 'wait' };
  if (target.contractSafety === undefined) {
    const message = `the board offers no procedure '${operation.procedure}'`;
    return { do: 'end', state: 'failed', error: { code: 'procedure-not-found', message } };
  }
  return { do: 'send' };
}

function judgeUnderWay(board: BoardView, target: OpenTarget, now: number, rules: DecideRules): Verdict {
  const { state, safety, sessionId } = target;
  const unknown = (code: string, message: string): Verdict => ({
    do: 'end',
    state: 'unknown',
    error: { code, message },
  });
  if (board.status === undefined) return unknown('board-deleted', 'the board was deleted after it was sent');
  const deadline = target.deadlineAt.getTime();
  if (deadline + rules.graceMs <= now) return unknown('no-report', noReport);
  const isAtMostOnce = state === 'dispatched' && !mayRepeat(safety);
  if (board.status !== 'online' || !board.session) {
    if (board.status === 'revoked')
      return unknown('board-revoked', 'the board was revoked after it was sent');
    if (isAtMostOnce) return unknown('no-answer', noAnswer);
    return { do: 'wait' };
  }
  if (target.cancelRequested) return { do: 'cancel' };
  if (state === 'dispatched') return isAtMostOnce || deadline <= now ? { do: 'ask' } : { do: 'repeat' };
  if (sessionId !== board.session.id) return { do: 'ask' };
  return { do: 'wait' };
}

/** Unknown, and yet in the queue: somebody wants the journal of its board to be asked. The answer takes it out. */
function judgeUnknown(board: BoardView, { error }: OpenTarget): Verdict {
  if (board.status === 'online' && board.session) return { do: 'ask' };
  if (board.status !== undefined && board.status !== 'revoked') return { do: 'wait' };
  return { do: 'end', state: 'unknown', error: asReportError(error) };
}

/** The error of a target that has one, as the board or a conductor gave it. */
export function asReportError(error: JsonObject | null): ReportError {
  return (error as ReportError | null) ?? { code: 'no-report', message: noReport };
}

/** Neither `idempotent` nor `journaled` is ever carried out twice as one attempt. */
export const mayRepeat = (safety: string | null) => safety === 'idempotent' || safety === 'journaled';

export const noAnswer = 'it was sent, no answer came, and its procedure must not be asked for twice';
export const noReport = 'it was sent, and its board has not reported an end in time';
export const tooLate: ReportError = { code: 'deadline-exceeded', message: 'not sent before the deadline' };

function boardError(code: 'board-deleted' | 'board-revoked', message: string): ReportError {
  return { code, message };
}

/** When its window opens; undefined while it is open or there is none. */
function closedUntil({ operation: { delivery, dailyWindow } }: OpenTarget, now: number): number | undefined {
  if (delivery !== 'window' || !dailyWindow) return undefined;
  const state = windowState(dailyWindow, now);
  return state.open ? undefined : state.opensAt;
}

function endOf(
  target: OpenTarget,
  { state, error, evidence }: Extract<Verdict, { do: 'end' }>,
  { conductor }: DecideRules,
): PlannedChange {
  return changeOf(
    target,
    { state, error: { ...error } },
    {
      kind: state,
      ...(target.attempt > 0 && { attempt: target.attempt }),
      evidence: { by: conductor, error, deliveries: target.deliveries, ...evidence },
    },
  );
}

function dispatchOf(
  board: BoardView,
  target: OpenTarget,
  now: number,
  { conductor }: DecideRules,
  isRepeat: boolean,
): PlannedChange {
  const { attempt, deliveries } = nextDelivery(target);
  const session = board.session as NonNullable<BoardView['session']>;
  const evidence = { by: conductor, session: session.id, cell: session.cell, delivery: deliveries };
  return changeOf(
    target,
    {
      state: 'dispatched',
      attempt,
      deliveries,
      sessionId: session.id,
      notBefore: null,
      // A repeat is for the journal that the attempt was first sent to, and no other.
      ...(isRepeat
        ? {}
        : {
            journalEpoch: board.journalEpoch,
            safety: target.contractSafety ?? null,
            dispatchedAt: new Date(now),
            error: null,
          }),
    },
    { kind: isRepeat ? 'sent-again' : 'dispatched', attempt, evidence },
  );
}
