/**
 * Answers `operation.run`, `.cancel` and `.status`. A repeat never runs: the journal answers it.
 *
 * Nothing is called accepted or running before the journal has it on disk, and no outcome of a
 * procedure that must not run twice is told before that is on disk.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import {
  type OperationReport,
  parseOperationIds,
  parseRunRequest,
  type RunAnswer,
  type RunRequest,
  type StatusAnswer,
} from '../../common/wamp/operations.ts';
import { type Clock, pause } from '../clock.ts';
import type { Registry } from '../procedures/registry.ts';
import type { ServerClock } from '../server-clock.ts';
import { type Entry, hasUploads, isEnded, reportOf, runningReport } from './entry.ts';
import type { Journal } from './journal.ts';
import { type Queue, queueLimits } from './queue.ts';

export interface RunnerOptions {
  journal: Journal;
  queue: Queue;
  registry: Registry;
  clock: Clock;
  serverClock: ServerClock;
}

export interface Runner {
  /** `operation.run`. Throws AppError `unavailable` when the journal cannot take it: nothing was run. */
  run(kwargs: unknown, trace?: string): Promise<RunAnswer>;
  /** `operation.cancel` */
  cancel(kwargs: unknown): Promise<StatusAnswer>;
  /** `operation.status` */
  status(kwargs: unknown): StatusAnswer;
}

export function createRunner({ journal, queue, registry, clock, serverClock }: RunnerOptions): Runner {
  async function run(kwargs: unknown, trace?: string): Promise<RunAnswer> {
    const request = parseRunRequest(kwargs);
    serverClock.observeAtLeast(request.sentAt);
    if (queue.isStopping()) throw new AppError('unavailable', 'the agent is stopping');
    const known = journal.find(request.operationId);
    const journalEpoch = journal.epoch();
    if (request.journalEpoch !== undefined && request.journalEpoch !== journalEpoch)
      return { journalEpoch, refusal: 'journal-lost' };
    if (known && known.attempt > request.attempt) return { journalEpoch, refusal: 'stale-attempt' };
    // A new attempt waits for the end of the one before: two would do the same work at once.
    if (known && known.attempt < request.attempt && !isEnded(known)) return answer(known.operationId, 0);
    if (known?.attempt !== request.attempt) begin(request, trace);
    return answer(request.operationId, request.inlineMs);
  }

  function begin(request: RunRequest, trace: string | undefined): void {
    const { operationId, attempt, procedure, kwargs, deadlineAt } = request;
    const safety = registry.find(procedure)?.contract.safety ?? 'at-most-once';
    const known = { operationId, attempt, procedure, kwargs, safety, deadlineAt };
    if (!queue.accept({ ...known, state: 'accepted', runs: 0, acknowledged: false }, trace))
      throw new AppError('unavailable', 'the journal of this board cannot be written');
  }

  /** The outcome when it is there in time, else how far it is. */
  async function answer(operationId: string, inlineMs: number): Promise<RunAnswer> {
    const active = queue.find(operationId);
    if (active && inlineMs > 0) {
      active.waiters += 1;
      await endsWithin(inlineMs, [active.ended.promise]);
      active.waiters -= 1;
    }
    const entry = find(operationId);
    // It may have been begun: nobody is told that nothing was run.
    if (!entry) throw new AppError('internal', 'the journal of this board has lost it just now');
    return { journalEpoch: journal.epoch(), report: visibleReport(entry) };
  }

  async function endsWithin(ms: number, ends: Promise<unknown>[]): Promise<void> {
    const ended = new AbortController();
    void Promise.all(ends).then(() => ended.abort());
    await pause(clock, ms, ended.signal);
  }

  const find = (operationId: string): Entry | undefined =>
    queue.find(operationId)?.entry ?? journal.find(operationId);

  /** The outcome, once it may be told: files first, and what must not be lost is on disk. */
  function visibleReport(entry: Entry): OperationReport {
    const { operationId } = entry;
    const mayBeTold = entry.safety === 'idempotent' || journal.isStored(operationId);
    if (isEnded(entry) && mayBeTold && !hasUploads(entry)) return reportOf(entry);
    // From here on the server counts on it being known here.
    if (!journal.isStored(operationId)) journal.commit();
    return runningReport(entry, queue.find(operationId)?.progress);
  }

  function statusOf(operationIds: readonly string[]): StatusAnswer {
    const reports: OperationReport[] = [];
    const missing: string[] = [];
    let bytes = 0;
    for (const id of operationIds) {
      const entry = find(id);
      if (!entry) {
        missing.push(id);
        continue;
      }
      const report = visibleReport(entry);
      bytes += Buffer.byteLength(JSON.stringify(report));
      // What does not fit into one message is sent by the reporter.
      reports.push(bytes <= operationLimits.reportsBytes ? report : runningReport(entry));
    }
    return { journalEpoch: journal.epoch(), since: journal.since(), reports, missing };
  }

  return {
    run,
    async cancel(kwargs) {
      const ids = parseOperationIds(kwargs);
      for (const id of ids) queue.cancel(id);
      journal.commit();
      // Most procedures obey at once, and then the answer says so.
      const ends = ids.flatMap((id) => queue.find(id)?.ended.promise ?? []);
      if (ends.length > 0) await endsWithin(queueLimits.obeyMs, ends);
      return statusOf(ids);
    },
    status: (kwargs) => statusOf(parseOperationIds(kwargs)),
  };
}
