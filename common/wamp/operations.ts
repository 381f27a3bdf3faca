/**
 * Operations on the wire: what the server asks of a board (`operation.*`), and what the board reports
 * (`boardwalk.agent.operation_result`, `.operation_progress`, `.put_artifact`). Parsers for both ends.
 *
 * An *attempt* is one intended execution. It is sent again until the board has answered, so a board
 * sees the same attempt several times, and answers repeats from its journal.
 */
import { createHash } from 'node:crypto';
import { AppError } from '../runtime/app-error.ts';
import {
  asArray,
  asBoolean,
  asInteger,
  asNumber,
  asObject,
  asOneOf,
  asString,
  isUuid,
  type JsonObject,
  optional,
} from '../runtime/guards.ts';
import { checkStorable } from './storable.ts';

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

export const operationLimits = {
  /** JSON text of a result; a larger one becomes an artifact. */
  resultBytes: 262_144,
  /** Reports in one call, and their JSON text together. */
  reports: 50,
  reportsBytes: 700_000,
  /** Ids in one question or cancellation. */
  ids: 100,
  artifactBytes: 50 * 1024 * 1024,
  artifactsPerOperation: 10,
  /** Bytes of one chunk, before base64. */
  chunkBytes: 131_072,
  progressBytes: 65_536,
  /** Of nesting in results, progress and details. */
  levels: 28,
  schedules: 200,
} as const;

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

export interface ArtifactReport {
  name: string;
  mediaType: string;
  /** Bytes. */
  size: number;
  /** Lower-case hex. */
  sha256: string;
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
  schedule?: { scheduleId: string; dueAt: number };
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

/** Entry of `operation.schedules`, whose kwargs `{schedules: […]}` replace all that the board has. */
export interface BoardSchedule {
  scheduleId: string;
  version: number;
  timing: ScheduleTiming;
  procedure: string;
  kwargs: JsonObject;
  /** Seconds that a run may take, from its due time. */
  deadlineSeconds: number;
  jitterSeconds: number;
  overlap: ScheduleOverlap;
  catchUp: ScheduleCatchUp;
  /** Epoch milliseconds: due times at and before this are not the board's to run. */
  after: number;
}

/** One of the three, by `kind`. */
export type ScheduleTiming =
  | { kind: 'cron'; cron: string; timeZone: string }
  | { kind: 'interval'; everySeconds: number; from: number }
  | { kind: 'once'; at: number };

export const scheduleOverlaps = ['skip', 'queue', 'cancel-previous'] as const;
export type ScheduleOverlap = (typeof scheduleOverlaps)[number];

/**
 * Id of the operation that a schedule's due time makes: the same wherever it is computed, so that a
 * due time is one operation however often it is met. A uuid (RFC 9562, version 8) that begins with the
 * due time, as those of other operations begin with the time of their making: the queues of boards go
 * by the order of ids. The rest is SHA-256 of both names.
 */
export function scheduledOperationId(scheduleId: string, dueAt: number): string {
  const hash = createHash('sha256').update(`boardwalk schedule ${scheduleId} ${dueAt}`).digest();
  hash.writeUIntBE(Math.min(dueAt, 2 ** 48 - 1), 0, 6);
  hash[6] = (hash.readUInt8(6) & 0x0f) | 0x80;
  hash[8] = (hash.readUInt8(8) & 0x3f) | 0x80;
  return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** What is made up for after an outage: none, the last due time, or all up to `limit`. */
export interface ScheduleCatchUp {
  mode: 'none' | 'last' | 'all';
  limit: number;
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

/** kwargs of `boardwalk.agent.put_artifact`. `data` absent = only asks where to go on. */
export interface ArtifactChunk {
  operationId: string;
  attempt: number;
  artifact: ArtifactReport;
  offset: number;
  /** base64 */
  data?: string;
  /** Of an offline schedule: the files come before the outcome, which makes the operation known. */
  schedule?: { scheduleId: string; dueAt: number };
}

export interface ArtifactAnswer {
  /** Bytes that the server has in a row: the next chunk begins there. */
  received: number;
  /** All bytes are there and their hash is right. */
  complete: boolean;
}

const maxTime = 8_640_000_000_000_000;
const hex64 = /^[0-9a-f]{64}$/;

function asUuid(value: unknown, field: string): string {
  if (isUuid(value)) return value;
  throw new AppError('invalid-arguments', `${field} must be a uuid`, { details: { field } });
}

const asTime = (value: unknown, field: string) => asInteger(value, field, { min: 0, max: maxTime });
const asAttempt = (value: unknown, field: string) => asInteger(value, field, { min: 1, max: 1_000_000 });

/** The value as it is, if it can be stored and its JSON text stays within `max` bytes. */
function asBounded(value: unknown, field: string, max: number): unknown {
  checkStorable(value, field, operationLimits.levels);
  const text = JSON.stringify(value);
  if (text !== undefined && Buffer.byteLength(text) > max)
    throw new AppError('payload-too-large', `${field} must have at most ${max} bytes as JSON`, {
      details: { field },
    });
  return value;
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

export function parseArtifact(value: unknown, field: string): ArtifactReport {
  const input = asObject(value, field, ['name', 'mediaType', 'size', 'sha256']);
  return {
    name: asString(input.name, `${field}.name`, { max: 100, pattern: /^[^/\\]+$/ }),
    mediaType: asString(input.mediaType, `${field}.mediaType`, {
      max: 100,
      pattern: /^[a-z0-9.+-]+\/[a-z0-9.+-]+$/i,
    }),
    size: asInteger(input.size, `${field}.size`, { min: 0, max: operationLimits.artifactBytes }),
    sha256: asString(input.sha256, `${field}.sha256`, { min: 64, max: 64, pattern: hex64 }),
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

function parseScheduleRef(value: unknown, field: string): { scheduleId: string; dueAt: number } {
  const input = asObject(value, field, ['scheduleId', 'dueAt']);
  return {
    scheduleId: asUuid(input.scheduleId, `${field}.scheduleId`),
    dueAt: asTime(input.dueAt, `${field}.dueAt`),
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

const maxChunkText = Math.ceil(operationLimits.chunkBytes / 3) * 4;

export function parseArtifactChunk(value: unknown): ArtifactChunk {
  const input = asObject(value, 'kwargs', [
    'operationId',
    'attempt',
    'artifact',
    'offset',
    'data',
    'schedule',
  ]);
  const data = optional(input.data, (v) =>
    asString(v, 'data', { min: 0, max: maxChunkText, pattern: /^[A-Za-z0-9+/]*={0,2}$/ }),
  );
  const schedule = optional(input.schedule, (v) => parseScheduleRef(v, 'schedule'));
  return {
    operationId: asUuid(input.operationId, 'operationId'),
    attempt: asAttempt(input.attempt, 'attempt'),
    artifact: parseArtifact(input.artifact, 'artifact'),
    offset: asInteger(input.offset, 'offset', { min: 0, max: operationLimits.artifactBytes }),
    ...(data !== undefined && { data }),
    ...(schedule && { schedule }),
  };
}

export function parseArtifactAnswer(value: unknown): ArtifactAnswer {
  const input = asObject(value, 'answer');
  return {
    received: asInteger(input.received, 'received', { min: 0, max: operationLimits.artifactBytes }),
    complete: asBoolean(input.complete, 'complete'),
  };
}

export function parseBoardSchedules(value: unknown): BoardSchedule[] {
  const input = asObject(value, 'kwargs', ['schedules']);
  return asArray(input.schedules, 'schedules', { max: operationLimits.schedules }).map((each, index) =>
    parseBoardSchedule(each, `schedules[${index}]`),
  );
}

function parseBoardSchedule(value: unknown, field: string): BoardSchedule {
  const input = asObject(value, field);
  const catchUp = asObject(input.catchUp, `${field}.catchUp`);
  return {
    scheduleId: asUuid(input.scheduleId, `${field}.scheduleId`),
    version: asInteger(input.version, `${field}.version`, { min: 1, max: Number.MAX_SAFE_INTEGER }),
    timing: parseTiming(input.timing, `${field}.timing`),
    procedure: asString(input.procedure, `${field}.procedure`, { max: 100 }),
    kwargs: asObject(input.kwargs ?? {}, `${field}.kwargs`),
    deadlineSeconds: asInteger(input.deadlineSeconds, `${field}.deadlineSeconds`, {
      min: 1,
      max: 31_536_000,
    }),
    jitterSeconds: asInteger(input.jitterSeconds, `${field}.jitterSeconds`, { min: 0, max: 86_400 }),
    overlap: asOneOf(input.overlap, `${field}.overlap`, scheduleOverlaps),
    catchUp: {
      mode: asOneOf(catchUp.mode, `${field}.catchUp.mode`, ['none', 'last', 'all'] as const),
      limit: asInteger(catchUp.limit, `${field}.catchUp.limit`, { min: 1, max: 100 }),
    },
    after: asTime(input.after, `${field}.after`),
  };
}

export function parseTiming(value: unknown, field: string): ScheduleTiming {
  const input = asObject(value, field);
  const kind = asOneOf(input.kind, `${field}.kind`, ['cron', 'interval', 'once'] as const);
  if (kind === 'once') return { kind, at: asTime(input.at, `${field}.at`) };
  if (kind === 'interval')
    return {
      kind,
      everySeconds: asInteger(input.everySeconds, `${field}.everySeconds`, { min: 1, max: 31_536_000 }),
      from: asTime(input.from, `${field}.from`),
    };
  return {
    kind,
    cron: asString(input.cron, `${field}.cron`, { max: 100 }),
    timeZone: asString(input.timeZone, `${field}.timeZone`, { max: 60 }),
  };
}
