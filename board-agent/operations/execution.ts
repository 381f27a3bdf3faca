/** One run of a procedure as an operation: what it is given, and what becomes of what it gives or throws. */
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ArtifactReport } from '../../common/wamp/artifacts.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import type { Progress } from '../../common/wamp/operations.ts';
import { isStorable } from '../../common/wamp/storable.ts';
import type { Clock } from '../clock.ts';
import { logged } from '../procedures/registry.ts';
import type { BoardProcedure, KeepArtifact } from '../sources/source.ts';
import type { Entry } from './entry.ts';
import { reportError, resultText, toProgress } from './outcome.ts';

export interface Execution {
  entry: Entry;
  abort: AbortController;
  trace: string | undefined;
  progress?: Progress;
}

/** Keeps the files of one run. */
export interface ArtifactKeeper {
  keep: KeepArtifact;
  /** All that it has kept; nothing more is taken from then on. */
  reports(): ArtifactReport[];
}

export interface ExecuteOptions {
  clock: Clock;
  logger: Logger;
  artifacts: ArtifactKeeper;
  onProgress: (progress: Progress) => void;
}

/** Runs it to its end; never rejects. Answers with what the entry takes over: `succeeded` or `failed`. */
export async function execute(
  { entry, abort, trace }: Execution,
  procedure: BoardProcedure,
  options: ExecuteOptions,
): Promise<Partial<Entry>> {
  const { artifacts, onProgress, clock, logger } = options;
  const { operationId, attempt } = entry;
  const fields = { procedure: entry.procedure, operationId, attempt, trace };
  let outcome: Partial<Entry>;
  try {
    outcome = await logged({ clock, logger, kind: 'operation', fields }, async () => {
      const value = await procedure.run(entry.kwargs, {
        signal: abort.signal,
        operation: { id: operationId, attempt },
        ...(trace !== undefined && { trace }),
        artifact: artifacts.keep,
        progress(said) {
          const progress = toProgress(said);
          if (progress) onProgress(progress);
        },
      });
      return { state: 'succeeded', ...(await fitResult(value, artifacts)) };
    });
  } catch (error) {
    outcome = { state: 'failed', error: reportError(error) };
  }
  const files = artifacts.reports();
  return { ...outcome, ...(files.length > 0 && { artifacts: files }) };
}

/** A result that is too large for a message, or too deep for the database, becomes a file. */
async function fitResult(value: unknown, artifacts: ArtifactKeeper): Promise<Partial<Entry>> {
  const text = resultText(value);
  const result: unknown =
    Buffer.byteLength(text) <= operationLimits.resultBytes ? JSON.parse(text) : undefined;
  if (result !== undefined && isStorable(result, operationLimits.levels)) return { result };
  try {
    await artifacts.keep({ name: 'result.json', mediaType: 'application/json' }, text);
    return {};
  } catch (error) {
    // The work is done: it must not count as failed because of what it has to say.
    return { note: `its result could not be kept: ${messageOf(error)}` };
  }
}
