/**
 * `boardwalk.agent.operation_result` and `.operation_progress`: what boards say of operations by
 * themselves. An outcome is acknowledged when it is committed, known, or of an operation that nobody
 * knows any more; what is not acknowledged the board says again.
 */
import type { Database } from '../../common/db/database.ts';
import type { ReportSource } from '../../common/operations/apply-report.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ArtifactChunk } from '../../common/wamp/artifacts.ts';
import type {
  OperationReport,
  ProgressRequest,
  ResultAnswer,
  ResultRequest,
} from '../../common/wamp/operations.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import type { BoardEntry } from '../boards/directory.ts';
import type { GetCaller } from '../boards/get-caller.ts';
import type { Metrics } from '../metrics.ts';
import { createGatherer } from './gatherer.ts';
import { createProgressLimit } from './progress-limit.ts';
import { createReportWriter, type HeardReport, isTaken, type ReportOutcome } from './write-reports.ts';

export interface OperationResultsOptions {
  database: Database;
  agentId: string;
  getCaller: GetCaller;
  /** Boards have something to do. */
  onReadied: (boardUuids: string[]) => void;
  onEnded: (operationIds: string[]) => void;
  metrics: Pick<Metrics, 'operationReports' | 'operationCommitSeconds' | 'operationProgress'>;
  logger: Logger;
}

export function createOperationResults(options: OperationResultsOptions) {
  const { metrics } = options;
  const write = createReportWriter(options.database);
  const limit = createProgressLimit();
  const gatherer = createGatherer<HeardReport[], ReportOutcome[]>({
    write: writeCalls,
    boardOf: (reports) => reports[0]?.board.uuid ?? '',
    sizeOf: (reports) => reports.reduce((sum, each) => sum + sizeOf(each), 0),
    logger: options.logger,
  });

  async function writeCalls(calls: HeardReport[][]): Promise<ReportOutcome[][]> {
    const endTimer = metrics.operationCommitSeconds.startTimer();
    const { outcomes, readied, ended } = await write(calls.flat()).finally(endTimer);
    if (readied.length > 0) options.onReadied(readied);
    if (ended.length > 0) options.onEnded(ended);
    let from = 0;
    return calls.map((reports) => {
      from += reports.length;
      return outcomes.slice(from - reports.length, from);
    });
  }

  function sourceOf(board: BoardEntry, via: ReportSource['via'], journalEpoch: string | null): ReportSource {
    return { via, sessionId: board.live?.id ?? null, journalEpoch, heardBy: options.agentId };
  }

  /** Outcomes count; how far an operation is comes once a second here as well. */
  function withoutHaste(board: BoardEntry, report: OperationReport): OperationReport {
    if (!report.progress || limit.take(`${board.uuid} ${report.operationId}`)) return report;
    const { progress: _progress, ...rest } = report;
    return rest;
  }

  return {
    async operationResult({ journalEpoch, reports }: ResultRequest, caller: Caller): Promise<ResultAnswer> {
      const board = await options.getCaller(caller);
      const source = sourceOf(board, 'result', journalEpoch);
      const outcomes = await gatherer.add(
        reports.map((report) => ({ board, source, report: withoutHaste(board, report) })),
      );
      for (const outcome of outcomes) metrics.operationReports.inc({ outcome });
      const taken = reports.filter((_, index) => isTaken(outcomes[index] ?? 'contended'));
      return { acknowledged: [...new Set(taken.map((each) => each.operationId))] };
    },

    async operationProgress(request: ProgressRequest, caller: Caller): Promise<{ taken: boolean }> {
      const board = await options.getCaller(caller);
      const { operationId, attempt, progress } = request;
      const taken = limit.take(`${board.uuid} ${operationId}`) && (await writeProgress());
      metrics.operationProgress.inc({ outcome: taken ? 'taken' : 'dropped' });
      return { taken };

      async function writeProgress(): Promise<boolean> {
        const report = { operationId, attempt, state: 'running', progress } as const;
        const source = sourceOf(board, 'progress', null);
        // Best effort: the board never repeats it, whatever the answer.
        const [outcome] = await gatherer.add([{ board, source, report }]).catch(() => []);
        return outcome === 'changed';
      }
    },

    /** Makes an offline run known before its outcome: its files come first. */
    async noteRunning(board: BoardEntry, { operationId, attempt, schedule }: ArtifactChunk): Promise<void> {
      const report = { operationId, attempt, state: 'running', ...(schedule && { schedule }) } as const;
      const source = sourceOf(board, 'artifact', null);
      const [outcome] = await gatherer.add([{ board, source, report }]);
      if (outcome === 'too-many-runs')
        throw new AppError('too-many-requests', 'too many due times that their schedules do not have', {
          details: { retryAfterMs: 60_000 },
        });
    },

    stop: gatherer.stop,
  };
}

/** About its bytes in the statements: what is large in a report. */
function sizeOf({ report }: HeardReport): number {
  const large = [report.result, report.progress, report.error].filter((each) => each !== undefined);
  return 1000 + (large.length === 0 ? 0 : JSON.stringify(large).length);
}
