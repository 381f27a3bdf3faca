/**
 * What the answer of a board, or the lack of one, means for the targets that it was about. Pure. A
 * target changes only by what is known: a call that may have reached the board leaves it `dispatched`.
 */
import { applyReport, type ReportSource } from '../../common/operations/apply-report.ts';
import { AppError, type ErrorCode, messageOf } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { codeOfUri } from '../../common/wamp/errors.ts';
import {
  endedReportStates,
  type OperationReport,
  type ReportError,
  type RunAnswer,
  type StatusAnswer,
} from '../../common/wamp/operations.ts';
import { asReportError, mayRepeat, noAnswer } from './decide.ts';
import { changeOf, type OpenTarget, type PlannedChange } from './views.ts';

export interface OutcomeContext {
  conductor: string;
  /** Database's clock, epoch milliseconds. */
  now: number;
}

/** `board`: it is not there. `backoff`: something on the way is not well. `now`: ask at once. */
export type Again = 'board' | 'backoff' | 'now' | undefined;

export interface Outcome {
  /** A row in the timeline that goes with no change of the target is a change without values. */
  change: PlannedChange | undefined;
  again: Again;
  /** For the metrics. */
  label: string;
}

/** The board's journal was there since before the dispatch; its own clock may be off by so much. */
const clockMarginMs = 10_000;

function sourceOf(
  { sessionId }: OpenTarget,
  via: ReportSource['via'],
  journalEpoch: string,
  { conductor }: OutcomeContext,
): ReportSource {
  return { via, sessionId, journalEpoch, heardBy: conductor };
}

/** The answer of `operation.run`. */
export function judgeRunAnswer(target: OpenTarget, answer: RunAnswer, context: OutcomeContext): Outcome {
  const { refusal, report, journalEpoch } = answer;
  if (report?.operationId === target.operationId)
    return ofReport(target, withoutFiles(report), sourceOf(target, 'run', journalEpoch, context), context);
  if (refusal === 'journal-lost') return unknown(target, journalLost, { journalEpoch }, context);
  if (refusal === 'stale-attempt') return unknown(target, staleAttempt, { journalEpoch }, context);
  return noAnswerOutcome(target, { reason: 'the answer had no report of it' }, context);
}

/** Why `operation.run` had no answer of the board. */
export function judgeRunFailure(target: OpenTarget, error: unknown, context: OutcomeContext): Outcome {
  const code = codeOf(error);
  const reason = messageOf(error).slice(0, 500);
  const mayHaveRun =
    !(error instanceof AppError && error.details.mayHaveRun === false) && !tookNothing.has(code);
  // The board's own word that it cannot take this, ever: its agent is too old, or what is sent too large.
  const isRefused = code === 'procedure-not-found' || code === 'invalid-arguments';
  if (isRefused || (code === 'payload-too-large' && !mayHaveRun))
    return ended(target, 'failed', { code, message: reason }, {}, context);
  const isAway = code === 'board-offline' || code === 'board-not-found';
  if (mayHaveRun || target.deliveries > 1) {
    const outcome = noAnswerOutcome(target, { code, reason, mayHaveRun }, context);
    return isAway ? { ...outcome, again: 'board' } : outcome;
  }
  return {
    change: changeOf(
      target,
      { state: 'queued', deliveries: target.deliveries - 1, dispatchedAt: null, journalEpoch: null },
      { kind: 'not-delivered', attempt: target.attempt, evidence: { by: context.conductor, code, reason } },
    ),
    again: isAway ? 'board' : 'backoff',
    label: 'not-delivered',
  };
}

/** The board's own word that it took nothing this time: its journal cannot be written, or too much waits. */
const tookNothing: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['unavailable', 'too-many-calls']);

/** What the board said, where the relay only hands on that it said something. */
function codeOf(error: unknown): ErrorCode {
  if (!(error instanceof AppError)) return 'internal';
  if (error.code !== 'procedure-failed') return error.code;
  const code = codeOfUri(String(error.details.error));
  return code !== undefined && tookNothing.has(code) ? code : error.code;
}

function noAnswerOutcome(target: OpenTarget, evidence: JsonObject, { conductor }: OutcomeContext): Outcome {
  return {
    change: changeOf(
      target,
      {},
      { kind: 'no-answer', attempt: target.attempt, evidence: { by: conductor, ...evidence } },
    ),
    // What may not be sent twice is asked for at once, the rest is sent again in a while.
    again: mayRepeat(target.safety) ? 'backoff' : 'now',
    label: 'no-answer',
  };
}

/** What the answer of `operation.status` or `.cancel` says of one of the targets that it was about. */
export function judgeStatus(
  target: OpenTarget,
  answer: StatusAnswer,
  via: 'status' | 'cancel',
  session: string,
  context: OutcomeContext,
): Outcome {
  const source = { ...sourceOf(target, via, answer.journalEpoch, context), sessionId: session };
  const report = answer.reports.find((each) => each.operationId === target.operationId);
  if (report && report.attempt >= target.attempt) {
    const outcome = ofReport(target, withoutFiles(report), source, context);
    // Whoever asked for it has the answer that there is: it is not asked again by itself.
    if (target.state === 'unknown' && outcome.change?.set.state === undefined)
      return unknown(target, asReportError(target.error), { report: report.state, session }, context);
    // It is as we know it: under this session too, so that it is not asked again.
    if (!outcome.change && target.sessionId !== session)
      return { ...outcome, change: changeOf(target, { sessionId: session }) };
    return outcome;
  }
  const { journalEpoch, since } = answer;
  const evidence = { journalEpoch, since: new Date(since).toISOString(), session };
  const isSameJournal = target.journalEpoch === null || target.journalEpoch === journalEpoch;
  const sentAt = target.dispatchedAt?.getTime();
  const covers = sentAt !== undefined && since + clockMarginMs <= sentAt;
  // Only what the board never said a word about can have been lost on the way.
  if (target.state === 'dispatched' && isSameJournal && covers)
    return neverArrived(target, evidence, context);
  return unknown(target, isSameJournal ? notInJournal : journalLost, evidence, context);
}

/** The board was asked and did not answer: what nobody can repeat is unknown from now on. */
export function judgeStatusFailure(target: OpenTarget, error: unknown, context: OutcomeContext): Outcome {
  const code = error instanceof AppError ? error.code : 'internal';
  const evidence = { code, reason: messageOf(error).slice(0, 500) };
  if (target.state === 'dispatched' && !mayRepeat(target.safety))
    return unknown(target, { code: 'no-answer', message: noAnswer }, evidence, context);
  const again = code === 'board-offline' || code === 'board-not-found' ? 'board' : 'backoff';
  return { change: undefined, again, label: 'not-asked' };
}

/**
 * An end that has files is taken with them, as `operation_result`: until they are all in the store,
 * the operation goes on.
 */
function withoutFiles(report: OperationReport): OperationReport {
  const { operationId, attempt, progress, startedAt, runs } = report;
  if (!report.artifacts?.length || !endedReportStates.has(report.state)) return report;
  return {
    operationId,
    attempt,
    state: 'running',
    ...(progress && { progress }),
    ...(startedAt !== undefined && { startedAt }),
    ...(runs !== undefined && { runs }),
  };
}

function ofReport(
  target: OpenTarget,
  report: OperationReport,
  source: ReportSource,
  { now }: OutcomeContext,
): Outcome {
  const decision = applyReport(target, report, source, { now });
  if (decision.kind === 'change')
    return {
      change: changeOf(target, decision.values, decision.event),
      again: undefined,
      label: decision.event.kind,
    };
  const change = decision.event && changeOf(target, {}, decision.event);
  // The journal knows another attempt than the one that was sent: the next look decides.
  const again = target.state === 'dispatched' ? 'backoff' : undefined;
  return { change, again, label: decision.why };
}

/** It was lost on the way, provably: as if it had not been sent. */
function neverArrived(target: OpenTarget, evidence: JsonObject, context: OutcomeContext): Outcome {
  if (target.cancelRequested)
    return ended(
      target,
      'cancelled',
      { code: 'cancelled', message: 'cancelled before it arrived' },
      evidence,
      context,
    );
  if (isPastDeadline(target, context))
    return ended(
      target,
      'expired',
      { code: 'deadline-exceeded', message: 'it never arrived' },
      evidence,
      context,
    );
  return {
    change: changeOf(
      target,
      { state: 'queued', deliveries: 0, dispatchedAt: null, journalEpoch: null },
      { kind: 'never-arrived', attempt: target.attempt, evidence: { by: context.conductor, ...evidence } },
    ),
    again: undefined,
    label: 'never-arrived',
  };
}

const isPastDeadline = (target: OpenTarget, { now }: OutcomeContext) => target.deadlineAt.getTime() <= now;

const journalLost: ReportError = {
  code: 'journal-lost',
  message: 'the board has lost the journal that it was sent to: what became of it is unknown',
};
const notInJournal: ReportError = {
  code: 'journal-lost',
  message: 'the board has it no more in its journal: what became of it is unknown',
};
const staleAttempt: ReportError = {
  code: 'stale-attempt',
  message: 'the board knows a later attempt of it: what became of it is unknown',
};

function unknown(
  target: OpenTarget,
  error: ReportError,
  evidence: JsonObject,
  context: OutcomeContext,
): Outcome {
  return ended(target, 'unknown', error, evidence, context);
}

function ended(
  target: OpenTarget,
  state: 'failed' | 'expired' | 'cancelled' | 'unknown',
  error: ReportError,
  evidence: JsonObject,
  { conductor }: OutcomeContext,
): Outcome {
  return {
    change: changeOf(
      target,
      { state, error: { ...error } },
      { kind: state, attempt: target.attempt, evidence: { by: conductor, error, ...evidence } },
    ),
    again: undefined,
    label: state,
  };
}
