/**
 * What a board's report means for its target: one decision, for whoever holds a report (the conductor
 * the answers of `operation.run`, `.status` and `.cancel`, the wamp-agent an `operation_result`). It
 * touches nothing: the caller writes `values` by compare-and-set, and decides anew when it lost.
 *
 * A failure with attempts left goes back to `queued` with the *next* attempt's number and no
 * deliveries, so that a repeat of the old report is known as old. Whoever dispatches takes
 * `nextDelivery`: it begins the first attempt, and sends a later one as it stands.
 */
import { backoffDelayMs } from '../runtime/backoff.ts';
import type { JsonObject } from '../runtime/guards.ts';
import { scheduledOperationId } from '../wamp/board-schedules.ts';
import {
  endedReportStates,
  type OperationReport,
  type ReportError,
  type ReportState,
} from '../wamp/operations.ts';
import { isEnded, type TargetState } from './states.ts';

/** What the decision needs of a target and its operation. */
export interface ReportedTarget {
  state: TargetState;
  attempt: number;
  maxAttempts: number;
  cancelRequested: boolean;
  safety: string | null;
  deadlineAt: Date;
  acceptedAt: Date | null;
  progress: JsonObject | null;
  error: JsonObject | null;
}

/** Who heard it, where: goes into the evidence. */
export interface ReportSource {
  /** How it came. */
  via: 'run' | 'status' | 'cancel' | 'result' | 'progress' | 'artifact';
  sessionId: string | null;
  /** null: it did not say. */
  journalEpoch: string | null;
  /** The wamp-agent or conductor that heard it. */
  heardBy: string;
}

/** Values of a target, as changeTargets takes them. */
export interface ReportValues {
  state?: TargetState;
  attempt?: number;
  deliveries?: number;
  notBefore?: Date | null;
  sessionId?: string | null;
  journalEpoch?: string | null;
  progress?: JsonObject | null;
  result?: unknown;
  error?: JsonObject | null;
  dispatchedAt?: Date | null;
  acceptedAt?: Date | null;
}

export interface ReportEvent {
  kind: string;
  attempt: number;
  evidence: JsonObject;
}

export type ReportDecision =
  /** Nothing to change: acknowledged. An `event` is still worth a row. */
  | { kind: 'ignore'; why: 'older-attempt' | 'unknown-attempt' | 'known' | 'late'; event?: ReportEvent }
  | { kind: 'change'; values: ReportValues; event: ReportEvent };

export interface ReportOptions {
  /** Epoch milliseconds, the server's clock. */
  now: number;
  /** Random in [0, 1); tests give their own. */
  random?: () => number;
}

/** Full jitter: the first retry within a second, none later than a minute. */
const retryBackoff = { baseMs: 1000, capMs: 60_000 };

/** What another attempt cannot put right, or must not try. */
const finalCodes: ReadonlySet<string> = new Set([
  'invalid-arguments',
  'procedure-not-found',
  'payload-too-large',
  'not-authorized',
]);

const endOf: Partial<Record<ReportState, TargetState>> = {
  succeeded: 'succeeded',
  failed: 'failed',
  expired: 'expired',
  cancelled: 'cancelled',
  interrupted: 'unknown',
};

export function applyReport(
  target: ReportedTarget,
  report: OperationReport,
  source: ReportSource,
  options: ReportOptions,
): ReportDecision {
  const event = (kind: string): ReportEvent => ({
    kind,
    attempt: report.attempt,
    evidence: evidenceOf(report, source),
  });
  if (report.attempt !== target.attempt && !isUnsent(target, report))
    return decideOther(target, report, event);
  if (isEnded(target.state) && target.state !== 'unknown') return decideLate(target, report, event);
  const end = endOf[report.state];
  if (end === undefined) return decideStanding(target, report, source, options, event);
  if (target.state === 'unknown' && end === 'unknown' && target.error?.code === 'interrupted')
    return { kind: 'ignore', why: 'known' };
  if (end === 'failed' && mayRetry(target, report, options.now))
    return { kind: 'change', values: retryValues(report, options), event: event('retry') };
  return {
    kind: 'change',
    values: { state: end, ...heard(target, report, source, options), progress: null, ...outcome(report) },
    event: event(end),
  };
}

/** What a dispatch writes: the first attempt begins with it, a later one was numbered by its retry. */
export function nextDelivery(target: { attempt: number; deliveries: number }): {
  attempt: number;
  deliveries: number;
} {
  return { attempt: Math.max(1, target.attempt), deliveries: target.deliveries + 1 };
}

/**
 * A due time that its board met by itself while the operation waits to be sent: the board was first. Of
 * no other operation can a board know what was not sent to it.
 */
function isUnsent(target: ReportedTarget, { operationId, attempt, schedule }: OperationReport): boolean {
  if (target.attempt !== 0 || target.state !== 'queued' || attempt !== 1 || !schedule) return false;
  return operationId === scheduledOperationId(schedule.scheduleId, schedule.dueAt);
}

function decideOther(
  target: ReportedTarget,
  report: OperationReport,
  event: (kind: string) => ReportEvent,
): ReportDecision {
  const isOlder = report.attempt < target.attempt;
  // A failed attempt is followed by the next; one that succeeded after all is worth knowing.
  const isWorthARow = isOlder ? report.state === 'succeeded' : endedReportStates.has(report.state);
  return {
    kind: 'ignore',
    why: isOlder ? 'older-attempt' : 'unknown-attempt',
    ...(isWorthARow && { event: event('late-report') }),
  };
}

/** An end stays an end; what contradicts it is noted. */
function decideLate(
  target: ReportedTarget,
  report: OperationReport,
  event: (kind: string) => ReportEvent,
): ReportDecision {
  if (endOf[report.state] === target.state) return { kind: 'ignore', why: 'known' };
  return {
    kind: 'ignore',
    why: 'late',
    ...(endedReportStates.has(report.state) && { event: event('late-report') }),
  };
}

/** `accepted` and `running`: never backwards, and no end of an unknown one. */
function decideStanding(
  target: ReportedTarget,
  report: OperationReport,
  source: ReportSource,
  options: ReportOptions,
  event: (kind: string) => ReportEvent,
): ReportDecision {
  if (target.state === 'unknown') return { kind: 'ignore', why: 'late' };
  const progress = report.progress && { ...report.progress };
  const isNews = progress !== undefined && JSON.stringify(progress) !== JSON.stringify(target.progress);
  const isForward = report.state === 'running' ? target.state !== 'running' : isSent(target.state);
  if (!isForward && !isNews) return { kind: 'ignore', why: 'known' };
  const state = report.state === 'running' ? 'running' : 'accepted';
  return {
    kind: 'change',
    values: {
      ...(isForward && { state, ...heard(target, report, source, options) }),
      ...(isNews && { progress }),
    },
    event: event(isForward ? state : 'progress'),
  };
}

const isSent = (state: TargetState) => state === 'queued' || state === 'dispatched';

/** The board has it: since when, and in which journal. */
function heard(
  target: ReportedTarget,
  report: OperationReport,
  source: ReportSource,
  { now }: ReportOptions,
): ReportValues {
  return {
    ...(report.attempt !== target.attempt && { attempt: report.attempt }),
    ...(target.acceptedAt === null && { acceptedAt: new Date(now) }),
    ...(source.sessionId !== null && { sessionId: source.sessionId }),
    ...(source.journalEpoch !== null && { journalEpoch: source.journalEpoch }),
  };
}

function outcome(report: OperationReport): ReportValues {
  if (report.state === 'succeeded') return { result: report.result ?? null, error: null };
  return { error: { ...(report.error ?? missingError(report.state)) } };
}

function missingError(state: ReportState): ReportError {
  if (state === 'interrupted')
    return { code: 'interrupted', message: 'the board went down in the middle: what it did is unknown' };
  if (state === 'expired') return { code: 'deadline-exceeded', message: 'not begun before the deadline' };
  if (state === 'cancelled') return { code: 'cancelled', message: 'cancelled on the board' };
  return { code: 'procedure-failed', message: 'the procedure failed' };
}

/** An unknown target has ended for whoever waited: it is put right, and not begun again. */
function mayRetry(target: ReportedTarget, { attempt, error }: OperationReport, now: number): boolean {
  if (target.state === 'unknown' || target.cancelRequested) return false;
  if (attempt >= target.maxAttempts || target.deadlineAt.getTime() <= now) return false;
  // Broken off in the middle: only what may run twice is begun again.
  if (error?.code === 'interrupted' && target.safety !== 'idempotent') return false;
  return !finalCodes.has(error?.code ?? '');
}

function retryValues({ attempt }: OperationReport, { now, random }: ReportOptions): ReportValues {
  const delayMs = backoffDelayMs(attempt - 1, { ...retryBackoff, ...(random && { random }) });
  return {
    state: 'queued',
    attempt: attempt + 1,
    deliveries: 0,
    notBefore: new Date(now + delayMs),
    journalEpoch: null,
    progress: null,
    dispatchedAt: null,
    acceptedAt: null,
  };
}

function evidenceOf(report: OperationReport, source: ReportSource): JsonObject {
  const { startedAt, endedAt, runs, progress, artifacts, error } = report;
  return {
    ...source,
    report: report.state,
    ...(startedAt !== undefined && { startedAt: new Date(startedAt).toISOString() }),
    ...(endedAt !== undefined && { endedAt: new Date(endedAt).toISOString() }),
    ...(runs !== undefined && { runs }),
    ...(progress && { progress }),
    ...(artifacts && { artifacts: artifacts.map(({ name, size, sha256 }) => ({ name, size, sha256 })) }),
    ...(error && { error }),
  };
}
