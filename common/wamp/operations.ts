/**
 * Operations on the wire: what the server asks of a board (`operation.*`), and what the board reports
 * (`boardwalk.agent.operation_result`, `.operation_progress`, `.put_artifact`). Parsers for both ends.
 *
 * An *attempt* is one intended execution. It is sent again until the board has answered, so a board
 * sees the same attempt several times, and answers repeats from its journal.
 */
import {
  asArray,
  asInteger,
  asNumber,
  asObject,
  asOneOf,
  asString,
  type JsonObject,
  optional,
} from '../runtime/guards.ts';
import { type ArtifactReport, parseArtifact } from './artifacts.ts';
import { parseScheduleRef, type ScheduleRef } from './board-schedules.ts';
import { asAttempt, asBounded, asTime, asUuid, operationLimits } from './operation-limits.ts';

/** What a board can say about an operation. `interrupted`: the agent died in the middle, and the rule says unknown. */
export const reportStates = [
  'accepted',
  'running',
  'succeeded',
  'failed',
  'expired',
  'cancelled',
  'interrupted',
] as const;
export type ReportState = (typeof reportStates)[number];

export const endedReportStates: ReadonlySet<ReportState> = new Set<ReportState>([
  'succeeded',
  'failed',
  'expired',
  'cancelled',
  'interrupted',
]);

/** kwargs of `operation.run`. */
export interface RunRequest {
  operationId: string;
  /** From 1. A repeat of an attempt is never run again; an older one than the board knows is refused. */
  attempt: number;
  procedure: string;
  kwargs: JsonObject;
  /** Epoch milliseconds by the server's clock: not begun after it, and ended at it. */
  deadlineAt: number;
  /** Server's clock when this was sent, epoch milliseconds. */
  sentAt: number;
  /** The board answers with the outcome when it is there within this time, else with how far it is. */
  inlineMs: number;
  /** On a repeat: the journal that the attempt was first sent to. Another one cannot know what it did. */
  journalEpoch?: string;
}

export interface ReportError {
  /** Error code of the contract, or `procedure-failed`. */
  code: string;
  message: string;
  details?: JsonObject;
}

/** Progress of a running procedure. */
export interface Progress {
  percent?: number;
  message?: string;
  data?: unknown;
}

/** One operation as the board's journal has it. */
export interface OperationReport {
  operationId: string;
  attempt: number;
  state: ReportState;
  result?: unknown;
  error?: ReportError;
  progress?: Progress;
  artifacts?: ArtifactReport[];
  /** Board's clock, corrected by what it knows of the server's; epoch milliseconds. */
  startedAt?: number;
  endedAt?: number;
  /** How often the board began to run it in this attempt: above 1 only for idempotent procedures. */
  runs?: number;
  /** Of an offline schedule, which made the operation on the board. */
  schedule?: ScheduleRef;
}

/** Answer of `operation.run`: the journal's entry, or why there is none. */
export interface RunAnswer {
  journalEpoch: string;
  report?: OperationReport;
  /** `journal-lost`: a repeat reached another journal. `stale-attempt`: a newer attempt is known. */
  refusal?: 'journal-lost' | 'stale-attempt';
}

/** Answer of `operation.status`: entries that the journal has; what it has not is in `missing`. */
export interface StatusAnswer {
  journalEpoch: string;
  /** Epoch milliseconds: everything sent to the board since then is in the journal. */
  since: number;
  reports: OperationReport[];
  missing: string[];
}

/** kwargs of `boardwalk.agent.operation_result`. */
export interface ResultRequest {
  journalEpoch: string;
  reports: OperationReport[];
}

/** What need not be delivered again: it is committed, or nobody knows the operation any more. */
export interface ResultAnswer {
  acknowledged: string[];
}

/** kwargs of `boardwalk.agent.operation_progress`; best effort, never repeated. */
export interface ProgressRequest {
  operationId: string;
  attempt: number;
  progress: Progress;
}

export function parseRunRequest(value: unknown): RunRequest {
  const input = asObject(value, 'kwargs');
  const journalEpoch = optional(input.journalEpoch, (v) => asUuid(v, 'journalEpoch'));
  return {
    operationId: asUuid(input.operationId, 'operationId'),
    attempt: asAttempt(input.attempt, 'attempt'),
    procedure: asString(input.procedure, 'procedure', { max: 100 }),
    kwargs: asObject(input.kwargs ?? {}, 'kwargs.kwargs'),
    deadlineAt: asTime(input.deadlineAt, 'deadlineAt'),
    sentAt: asTime(input.sentAt, 'sentAt'),
    inlineMs: asInteger(input.inlineMs, 'inlineMs', { min: 0, max: 60_000 }),
    ...(journalEpoch && { journalEpoch }),
  };
}

export function parseRunAnswer(value: unknown): RunAnswer {
  const input = asObject(value, 'answer');
  const refusal = optional(input.refusal, (v) =>
    asOneOf(v, 'refusal', ['journal-lost', 'stale-attempt'] as const),
  );
  const report = optional(input.report, (v) => parseOperationReport(v, 'report'));
  return {
    journalEpoch: asUuid(input.journalEpoch, 'journalEpoch'),
    ...(report && { report }),
    ...(refusal && { refusal }),
  };
}

export function parseOperationIds(value: unknown): string[] {
  const input = asObject(value, 'kwargs');
  return asArray(input.operationIds, 'operationIds', { min: 1, max: operationLimits.ids }).map(
    (each, index) => asUuid(each, `operationIds[${index}]`),
  );
}

export function parseStatusAnswer(value: unknown): StatusAnswer {
  const input = asObject(value, 'answer');
  return {
    journalEpoch: asUuid(input.journalEpoch, 'journalEpoch'),
    since: asTime(input.since, 'since'),
    reports: asArray(input.reports, 'reports', { max: operationLimits.ids }).map((each, index) =>
      parseOperationReport(each, `reports[${index}]`),
    ),
    missing: asArray(input.missing, 'missing', { max: operationLimits.ids }).map((each) =>
      asUuid(each, 'missing'),
    ),
  };
}

export function parseProgress(value: unknown, field: string): Progress {
  const input = asObject(value, field, ['percent', 'message', 'data']);
  const percent = optional(input.percent, (v) => asNumber(v, `${field}.percent`, { min: 0, max: 100 }));
  const message = optional(input.message, (v) =>
    asString(v, `${field}.message`, { min: 0, max: 500, multiline: true }),
  );
  if (input.data !== undefined) asBounded(input.data, `${field}.data`, operationLimits.progressBytes);
  return {
    ...(percent !== undefined && { percent }),
    ...(message !== undefined && { message }),
    ...(input.data !== undefined && { data: input.data }),
  };
}

export function parseOperationReport(value: unknown, field: string): OperationReport {
  const input = asObject(value, field);
  const error = optional(input.error, (v) => parseReportError(v, `${field}.error`));
  const progress = optional(input.progress, (v) => parseProgress(v, `${field}.progress`));
  const artifacts = optional(input.artifacts, (v) =>
    asArray(v, `${field}.artifacts`, { max: operationLimits.artifactsPerOperation }).map((each, index) =>
      parseArtifact(each, `${field}.artifacts[${index}]`),
    ),
  );
  const schedule = optional(input.schedule, (v) => parseScheduleRef(v, `${field}.schedule`));
  const startedAt = optional(input.startedAt, (v) => asTime(v, `${field}.startedAt`));
  const endedAt = optional(input.endedAt, (v) => asTime(v, `${field}.endedAt`));
  const runs = optional(input.runs, (v) => asInteger(v, `${field}.runs`, { min: 0, max: 1_000_000 }));
  if (input.result !== undefined) asBounded(input.result, `${field}.result`, operationLimits.resultBytes);
  return {
    operationId: asUuid(input.operationId, `${field}.operationId`),
    attempt: asAttempt(input.attempt, `${field}.attempt`),
    state: asOneOf(input.state, `${field}.state`, reportStates),
    ...(input.result !== undefined && { result: input.result }),
    ...(error && { error }),
    ...(progress && { progress }),
    ...(artifacts && { artifacts }),
    ...(startedAt !== undefined && { startedAt }),
    ...(endedAt !== undefined && { endedAt }),
    ...(runs !== undefined && { runs }),
    ...(schedule && { schedule }),
  };
}

function parseReportError(value: unknown, field: string): ReportError {
  const input = asObject(value, field);
  const details = optional(input.details, (v) => asObject(v, `${field}.details`));
  if (details) asBounded(details, `${field}.details`, operationLimits.progressBytes);
  return {
    code: asString(input.code, `${field}.code`, { max: 100 }),
    message: asString(input.message, `${field}.message`, { min: 0, max: 2000, multiline: true }),
    ...(details && { details }),
  };
}

export function parseResultRequest(value: unknown): ResultRequest {
  const input = asObject(value, 'kwargs', ['journalEpoch', 'reports']);
  return {
    journalEpoch: asUuid(input.journalEpoch, 'journalEpoch'),
    reports: asArray(input.reports, 'reports', { min: 1, max: operationLimits.reports }).map((each, index) =>
      parseOperationReport(each, `reports[${index}]`),
    ),
  };
}

export function parseResultAnswer(value: unknown): ResultAnswer {
  const input = asObject(value, 'answer');
  return {
    acknowledged: asArray(input.acknowledged, 'acknowledged', { max: operationLimits.reports }).map((each) =>
      asUuid(each, 'acknowledged'),
    ),
  };
}

export function parseProgressRequest(value: unknown): ProgressRequest {
  const input = asObject(value, 'kwargs', ['operationId', 'attempt', 'progress']);
  return {
    operationId: asUuid(input.operationId, 'operationId'),
    attempt: asAttempt(input.attempt, 'attempt'),
    progress: parseProgress(input.progress, 'progress'),
  };
}
