/**
 * Tells the server how operations ended, until it says that it knows.
 *
 *   ended → (files are uploaded) → due → sent → acknowledged
 *                                          → not acknowledged, or failed: again later, for ever
 *                                          → refused: in halves, then without what offends
 *
 * What was just answered inline is due a little later: the server takes it from the answer, and the
 * report only gets its acknowledgement.
 */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ArtifactChunk } from '../../common/wamp/artifacts.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import { parseResultAnswer, type ResultRequest } from '../../common/wamp/operations.ts';
import { type Clock, pause } from '../clock.ts';
import type { ArtifactStore } from './artifacts.ts';
import { type Entry, hasUploads, reportOf } from './entry.ts';
import type { Journal } from './journal.ts';
import { parseAnswer } from './parse-answer.ts';
import { upload } from './uploader.ts';

export interface ReporterOptions {
  journal: Journal;
  files: ArtifactStore;
  clock: Clock;
  logger: Logger;
  random?: () => number;
  /** Calls the server; rejects with an AppError. */
  sendReports: (request: ResultRequest, timeoutMs: number) => Promise<unknown>;
  putArtifact: (chunk: ArtifactChunk, timeoutMs: number) => Promise<unknown>;
  onFailure?: (error: unknown) => void;
}

export interface Reporter {
  /** Reports while the board is online; until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  noteEnded(entry: Entry, answered: boolean): void;
  /** Something may be due now that was not before. */
  wake(): void;
}

export const reporterLimits = {
  answeredMs: 3000,
  timeoutMs: 30_000,
  /** Looked again without being woken. */
  restMs: 30_000,
  backoff: { baseMs: 1000, capMs: 60_000 },
  /** How often an outcome is refused before something of it is left out. */
  patience: 5,
} as const;

interface Delay {
  untilMs: number;
  tries: number;
}

export function createReporter(options: ReporterOptions): Reporter {
  const { journal, files, clock, logger, random = Math.random } = options;
  /** By operation: not before that monotonic time. */
  const delays = new Map<string, Delay>();
  /** What rests, with the monotonic time until when. */
  const resting = new Map<() => void, number>();
  /** Reports per call: halved by a refusal. */
  let size: number = operationLimits.reports;
  let failures = 0;

  function wake(dueMs = clock.monotonicMs()): void {
    for (const [end, untilMs] of [...resting]) if (dueMs < untilMs) end();
  }

  async function rest(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const end = () => woken.abort();
    resting.set(end, clock.monotonicMs() + ms);
    signal.addEventListener('abort', end, { once: true });
    await pause(clock, ms, woken.signal);
    signal.removeEventListener('abort', end);
    resting.delete(end);
  }

  const delayMs = (tries: number) => 500 + backoffDelayMs(tries, { ...reporterLimits.backoff, random });

  function isDue(entry: Entry): boolean {
    if (entry.safety !== 'idempotent' && !journal.isStored(entry.operationId)) return false;
    return (delays.get(entry.operationId)?.untilMs ?? 0) <= clock.monotonicMs();
  }

  function postpone(operationId: string): void {
    const tries = delays.get(operationId)?.tries ?? 0;
    delays.set(operationId, { untilMs: clock.monotonicMs() + delayMs(tries), tries: tries + 1 });
  }

  // --- reports ------------------------------------------------------------------------------------

  function collect(): Entry[] {
    const batch: Entry[] = [];
    let bytes = 0;
    for (const entry of journal.unacknowledged()) {
      if (!isDue(entry) || hasUploads(entry)) continue;
      bytes += Buffer.byteLength(JSON.stringify(reportOf(entry)));
      if (batch.length > 0 && bytes > operationLimits.reportsBytes) break;
      batch.push(entry);
      if (batch.length === size) break;
    }
    return batch;
  }

  async function report(batch: readonly Entry[]): Promise<void> {
    const request = { journalEpoch: journal.epoch(), reports: batch.map(reportOf) };
    const answer = await options.sendReports(request, reporterLimits.timeoutMs);
    const acknowledged = new Set(parseAnswer(answer, parseResultAnswer).acknowledged);
    for (const entry of batch) {
      const { operationId, attempt } = entry;
      if (!acknowledged.has(operationId)) {
        postpone(operationId);
        // It may miss a file that it had: then it says so when it is asked.
        if (entry.uploaded && (entry.artifacts?.length ?? 0) > 0) journal.put({ ...entry, uploaded: false });
        continue;
      }
      delays.delete(operationId);
      journal.acknowledge(operationId, attempt);
      files.drop(operationId);
    }
  }

  async function reportAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const batch = collect();
      if (batch.length === 0) {
        size = operationLimits.reports;
        await rest(nextDueMs(), signal);
        continue;
      }
      try {
        await report(batch);
        failures = 0;
        size = Math.min(operationLimits.reports, size * 2);
        await new Promise((resolve) => setImmediate(resolve));
      } catch (error) {
        if (signal.aborted) return;
        options.onFailure?.(error);
        await handleFailure(batch, error, signal);
      }
    }
  }

  function nextDueMs(): number {
    const now = clock.monotonicMs();
    const waits = [...delays.values()].map((each) => each.untilMs - now).filter((each) => each > 0);
    return Math.min(reporterLimits.restMs, ...waits);
  }

  async function handleFailure(batch: readonly Entry[], error: unknown, signal: AbortSignal): Promise<void> {
    const first = batch[0];
    if (!isRefusal(error) || !first) {
      failures += 1;
      logger.warn({ reason: messageOf(error), failures }, 'outcomes were not taken, will send them again');
      await pause(clock, delayMs(failures - 1), signal);
    } else if (batch.length > 1) {
      size = Math.ceil(batch.length / 2);
    } else {
      postpone(first.operationId);
      const slimmer = withoutOffence(first, error.message);
      logger.error(
        { reason: error.message, operationId: first.operationId },
        'the server refuses an outcome',
      );
      if (slimmer) journal.put(slimmer);
    }
  }

  // --- files --------------------------------------------------------------------------------------

  function findUpload(): Entry | undefined {
    for (const entry of journal.unacknowledged()) if (hasUploads(entry) && isDue(entry)) return entry;
    return undefined;
  }

  /** Beside the reports, so that a large file holds no other outcome up. */
  async function uploadAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const entry = findUpload();
      if (!entry) {
        await rest(nextDueMs(), signal);
        continue;
      }
      try {
        const { kept, places, refused } = await upload(entry, { files, put: options.putArtifact }, signal);
        const note = [entry.note ?? [], refused].flat().join('; ').slice(0, 500);
        const { note: _before, ...rest } = entry;
        if (journal.find(entry.operationId)?.attempt === entry.attempt)
          journal.put({ ...rest, artifacts: kept, places, uploaded: true, ...(note !== '' && { note }) });
        delays.delete(entry.operationId);
        wake();
      } catch (error) {
        if (signal.aborted) return;
        options.onFailure?.(error);
        logger.warn({ reason: messageOf(error), operationId: entry.operationId }, 'a file was not taken yet');
        postpone(entry.operationId);
      }
    }
  }

  return {
    async run(signal) {
      failures = 0;
      await Promise.all([reportAll(signal), uploadAll(signal)]);
    },
    noteEnded(entry, answered) {
      // An answer that waits for files says `running`: nothing was told yet.
      const told = answered && !hasUploads(entry);
      const untilMs = clock.monotonicMs() + (told ? reporterLimits.answeredMs : 0);
      delays.set(entry.operationId, { untilMs, tries: 0 });
      // Many that were answered at about the same time are due with the first of them.
      wake(untilMs);
    },
    wake: () => wake(),
  };
}

function isRefusal(error: unknown): error is AppError {
  return (
    error instanceof AppError && (error.code === 'invalid-arguments' || error.code === 'payload-too-large')
  );
}

/** First without its result, then without all that a procedure has a say in; undefined when nothing is left to leave out. */
function withoutOffence(entry: Entry, reason: string): Entry | undefined {
  const note = `the server would not take all of its outcome: ${reason}`.slice(0, 500);
  const { result, error, artifacts, ...rest } = entry;
  if (result !== undefined)
    return { ...rest, ...(error && { error }), ...(artifacts && { artifacts }), note };
  if (error?.details === undefined && artifacts === undefined) return undefined;
  return { ...rest, ...(error && { error: { code: error.code, message: error.code } }), note };
}
