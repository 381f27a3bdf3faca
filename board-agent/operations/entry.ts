/** What the journal keeps of one operation, and what of it is said to the server. */
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { ArtifactReport } from '../../common/wamp/artifacts.ts';
import type { SafetyClass } from '../../common/wamp/contract.ts';
import {
  endedReportStates,
  type OperationReport,
  type Progress,
  type ReportError,
  type ReportState,
} from '../../common/wamp/operations.ts';

export interface Entry {
  operationId: string;
  attempt: number;
  procedure: string;
  kwargs: JsonObject;
  /** As the contract said when the attempt came. */
  safety: SafetyClass;
  /** Server's clock, as all times here. */
  deadlineAt: number;
  state: ReportState;
  result?: unknown;
  error?: ReportError;
  artifacts?: ArtifactReport[];
  /** Places of the artifacts among the files on disk, when some are left out. */
  places?: number[];
  /** All artifacts are with the server, or refused by it. */
  uploaded?: boolean;
  /** For people: what the server would not take of the outcome. */
  note?: string;
  /** How often it was begun in this attempt. */
  runs: number;
  startedAt?: number;
  endedAt?: number;
  /** Told to stop while it ran: not begun again after a restart. */
  cancelRequested?: boolean;
  acknowledged: boolean;
  /** Made on the board, by a schedule. */
  schedule?: { scheduleId: string; dueAt: number };
  /** Not begun before this. */
  notBefore?: number;
}

export function isEnded(entry: Pick<Entry, 'state'>): boolean {
  return endedReportStates.has(entry.state);
}

/** Whether files have still to reach the server before the outcome does. */
export function hasUploads(entry: Entry): boolean {
  return (entry.artifacts?.length ?? 0) > 0 && entry.uploaded !== true && !entry.acknowledged;
}

/** The outcome in full. */
export function reportOf(entry: Entry): OperationReport {
  return {
    ...runningReport(entry),
    state: entry.state,
    ...(entry.result !== undefined && { result: entry.result }),
    ...(entry.error && { error: entry.error }),
    ...(entry.artifacts && { artifacts: entry.artifacts }),
    ...(entry.note !== undefined && { progress: { message: entry.note } }),
    ...(entry.endedAt !== undefined && { endedAt: entry.endedAt }),
  };
}

/** How far it is. Also said of what has ended but may not be told yet: the outcome follows by itself. */
export function runningReport(entry: Entry, progress?: Progress): OperationReport {
  return {
    operationId: entry.operationId,
    attempt: entry.attempt,
    state: entry.state === 'accepted' ? 'accepted' : 'running',
    runs: entry.runs,
    ...(progress && { progress }),
    ...(entry.startedAt !== undefined && { startedAt: entry.startedAt }),
    ...(entry.schedule && { schedule: entry.schedule }),
  };
}
