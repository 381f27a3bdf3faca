/**
 * Works one sink off, while this conductor holds its lease.
 *
 *   looking     the sink's row is read again; paused, gone or nothing to send: the work ends
 *   replaying   dead letters that somebody wants sent again go first
 *   filling     fewer points than a batch wait, and the oldest is younger than the sink's age: sleep
 *   writing     one batch to the target; only its word that it is durable counts
 *   recording   counters, dead letters and the outbox in one transaction that only the holder of the
 *               lease commits. Killed before it: the batch is written again, under the same ids
 *   ending      what was written in part is written to its end
 *   waiting     the target cannot: back-off or what it asked for, nothing is lost, the order is kept
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { renewLease } from '../../common/db/queries/leases.ts';
import { takeFromOutbox } from '../../common/db/queries/outbox.ts';
import { messageOf } from '../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { SinkConfig } from '../../common/sinks/config.ts';
import { openSinkSecrets } from '../../common/sinks/secrets.ts';
import { createFilter, parseSinkFilter } from '../../common/sinks/settings.ts';
import type { Nap } from '../nap.ts';
import { createTarget } from './kinds.ts';
import { type Accepts, createPending } from './pending.ts';
import { type Retry, type SinkPoint, type SinkTarget, settledOf, type WriteOutcome } from './sink-kind.ts';
import {
  disableSink,
  findBoardNames,
  findReplays,
  findSink,
  recordFailure,
  recordReplays,
  recordRows,
  type SinkRow,
} from './sink-queries.ts';

export interface WorkerSettings {
  leaseSeconds: number;
  /** Of one request to a target; doubled each time that it is not enough, up to the longest. */
  timeoutMs: number;
  longestTimeoutMs: number;
  retry: { baseMs: number; capMs: number };
  /** A target may ask for no longer a pause than this. */
  maxRetryAfterMs: number;
}

export interface SinkObserver {
  onPoints?(kind: string, outcome: 'delivered' | 'rejected' | 'skipped', points: number): void;
  onWrite?(kind: string, outcome: 'written' | 'retry', seconds: number): void;
}

export interface WorkerOptions {
  database: Database;
  logger: Logger;
  config: SinkConfig;
  settings: WorkerSettings;
  lease: { name: string; owner: string; fence: number };
  sinkId: string;
  nap: Nap;
  /** It waits for its target or for more, with next to nothing in memory; or it works again. */
  onRest(isResting: boolean): void;
  /** No new batch is begun. */
  stopping: AbortSignal;
  /** What is under way ends. */
  cut: AbortSignal;
  observer: SinkObserver;
}

const readingsPerTake = 2000;
/** A commit costs a flush: it waits for so many points, or so long. */
const commit = { points: 500, afterMs: 250 };
/** Whether its owner changed it. While it waits, that comes with a wake, which may be lost. */
const lookAgainMs = { min: 500, max: 2000 };
const finishMs = 2000;

/** Ends when there is nothing to do; throws when the database cannot be used or the lease is lost. */
export async function runSink(options: WorkerOptions): Promise<void> {
  const { database, sinkId, settings, stopping, nap, observer } = options;
  const pending = createPending();
  let opened: { version: number; timeoutMs: number; target: SinkTarget; accepts: Accepts } | undefined;
  /** Who answers slowly gets its readings slowly, and not never. */
  let timeoutMs = settings.timeoutMs;
  let last: SinkRow | undefined;
  let failures = 0;
  let committedAt = performance.now();

  /** A transaction that only the holder of the lease can commit. */
  const write = (work: (manager: EntityManager) => Promise<void>) =>
    database.transaction(async (manager) => {
      if (!(await renewLease(manager, options.lease, settings.leaseSeconds)))
        throw new Error('the lease of this sink was taken by another conductor');
      await work(manager);
    });

  async function open(sink: SinkRow) {
    if (opened?.version === sink.version && opened.timeoutMs === timeoutMs) return opened;
    await close();
    const { tenantId, kind, version } = sink;
    const context = { sinkId, tenantId, config: options.config, timeoutMs };
    const accepts = createFilter(parseSinkFilter(sink.filter));
    const secrets = openSinkSecrets(options.config.key, sinkId, sink.secrets);
    const target = createTarget(kind, sink.settings, secrets, context);
    opened = { version, timeoutMs, target, accepts };
    pending.renew(accepts);
    return opened;
  }

  async function close(): Promise<void> {
    const old = opened;
    opened = undefined;
    try {
      await old?.target.close();
    } catch (error) {
      // What was written is on record already.
      options.logger.warn({ sink: sinkId, reason: messageOf(error) }, 'a target could not be closed');
    }
  }

  async function send(
    sink: SinkRow,
    target: SinkTarget,
    points: readonly SinkPoint[],
  ): Promise<WriteOutcome> {
    const startedAt = performance.now();
    const outcome = await target.write(points, options.cut);
    const tookMs = performance.now() - startedAt;
    observer.onWrite?.(sink.kind, outcome.outcome, tookMs / 1000);
    if (outcome.outcome === 'retry' && tookMs >= timeoutMs)
      timeoutMs = Math.min(2 * timeoutMs, settings.longestTimeoutMs);
    else if (outcome.outcome === 'written' && tookMs < settings.timeoutMs / 2) timeoutMs = settings.timeoutMs;
    return outcome;
  }

  async function commitFinished(sink: SinkRow): Promise<void> {
    const rows = pending.finished();
    if (rows.length === 0) return;
    await write((manager) => recordRows(manager, sinkId, rows));
    committedAt = performance.now();
    pending.forget(rows.map(({ outboxId }) => outboxId));
    for (const { delivered, letters, skipped } of rows) {
      observer.onPoints?.(sink.kind, 'delivered', delivered);
      observer.onPoints?.(sink.kind, 'rejected', letters.length);
      observer.onPoints?.(sink.kind, 'skipped', skipped);
    }
  }

  async function waitFor(sink: SinkRow, outcome: Retry, points: number) {
    await commitFinished(sink);
    // That was no fault of the target's.
    if (options.cut.aborted) return;
    if (outcome.settled) failures = 0;
    const ownMs = Math.max(settings.retry.baseMs / 2, backoffDelayMs(failures, settings.retry));
    const retryMs = Math.min(settings.maxRetryAfterMs, Math.max(ownMs, outcome.afterMs ?? 0));
    failures += 1;
    const duplicate = outcome.isOpen ? points - (outcome.settled?.count ?? 0) : 0;
    await write((manager) => recordFailure(manager, sinkId, { reason: outcome.reason, retryMs, duplicate }));
    await rest(() => waitOrWord(sink, retryMs));
  }

  async function rest(sleep: () => Promise<void>): Promise<void> {
    if (opened) pending.renew(opened.accepts);
    options.onRest(true);
    try {
      await sleep();
    } finally {
      options.onRest(false);
    }
  }

  /** New readings wake too: only a word of its owner's ends the wait early, a change or "try now". */
  async function waitOrWord({ version }: SinkRow, waitMs: number): Promise<void> {
    const until = performance.now() + waitMs;
    const lookMs = Math.min(lookAgainMs.max, Math.max(lookAgainMs.min, waitMs / 10));
    while (!stopping.aborted && performance.now() < until) {
      nap.beginLook();
      await nap.sleep(Math.min(lookMs, until - performance.now()));
      if (nap.isWoken()) await new Promise((resolve) => setTimeout(resolve, Math.min(100, waitMs)));
      const now = await database.read((manager) => findSink(manager, sinkId));
      if (now?.version !== version || now.retryInMs === null) return;
    }
  }

  /** False when the target cannot. */
  async function replay(sink: SinkRow, target: SinkTarget): Promise<boolean> {
    const letters = await database.read((manager) => findReplays(manager, sinkId, sink.batchSize));
    if (letters.length === 0) return true;
    const points = letters.map(({ point }) => point);
    const outcome = await send(sink, target, points);
    const { count, rejected } = settledOf(outcome, letters.length);
    if (count > 0) {
      await write((manager) => recordReplays(manager, sinkId, letters.slice(0, count), rejected));
      observer.onPoints?.(sink.kind, 'delivered', count - rejected.size);
    }
    if (outcome.outcome === 'retry') {
      await waitFor(sink, outcome, points.length);
      return false;
    }
    failures = 0;
    return letters.length < sink.batchSize;
  }

  async function load(sink: SinkRow, accepts: Accepts): Promise<{ isEmpty: boolean; isMore: boolean }> {
    const limit = Math.max(readingsPerTake, sink.batchSize);
    const { entries, names } = await database.read(async (manager) => {
      const taken = await takeFromOutbox(manager, sinkId, limit);
      const boards = [...new Set(taken.map(({ boardUuid }) => boardUuid))];
      return { entries: taken, names: await findBoardNames(manager, boards) };
    });
    // A board that was deleted has no name any more.
    pending.load(entries, (board) => names.get(board) ?? board, accepts);
    const readings = entries.reduce((sum, each) => sum + each.readingCount, 0);
    return { isEmpty: entries.length === 0, isMore: readings > limit / 2 };
  }

  /** Full batches, and what is left when it is old enough. */
  async function writeBatches(
    sink: SinkRow,
    target: SinkTarget,
  ): Promise<'retry' | 'changed' | 'written' | 'nothing'> {
    let uncommitted = 0;
    let written = 0;
    let lookedAt = performance.now();
    while (!stopping.aborted) {
      if (performance.now() - lookedAt > lookAgainMs.min) {
        lookedAt = performance.now();
        const now = await database.read((manager) => findSink(manager, sinkId));
        if (now?.version !== sink.version) return 'changed';
      }
      const isDue = pending.size() >= sink.batchSize || pending.oldestMs() >= sink.maxAgeMs;
      const points = isDue ? pending.next(sink.batchSize) : [];
      if (points.length === 0) break;
      const outcome = await send(sink, target, points);
      const { count, rejected } = settledOf(outcome, points.length);
      pending.settle(count, rejected);
      if (outcome.outcome === 'retry') {
        await waitFor(sink, outcome, points.length);
        return 'retry';
      }
      failures = 0;
      written += points.length;
      uncommitted += points.length;
      if (uncommitted >= commit.points || performance.now() - committedAt > commit.afterMs) {
        await commitFinished(sink);
        uncommitted = 0;
      }
    }
    await commitFinished(sink);
    return written > 0 ? 'written' : 'nothing';
  }

  /** What was written in part is written to its end if that is soon: whoever goes on would begin it anew. */
  async function finishBegun(sink: SinkRow, target: SinkTarget): Promise<void> {
    const until = performance.now() + finishMs;
    for (let left = pending.begun(); left > 0; left = pending.begun()) {
      if (options.cut.aborted || performance.now() > until) break;
      const points = pending.next(Math.min(left, sink.batchSize));
      const outcome = await send(sink, target, points);
      if (outcome.outcome === 'retry') return;
      pending.settle(points.length, outcome.rejected);
    }
    await commitFinished(sink);
  }

  async function work(): Promise<void> {
    while (!stopping.aborted) {
      nap.beginLook();
      const sink = await database.read((manager) => findSink(manager, sinkId));
      // Of one that was deleted nothing more is written.
      if (!sink) last = undefined;
      if (sink?.state !== 'active') return;
      last = sink;
      const { retryInMs } = sink;
      // Who held it before was told to wait.
      if (!opened && retryInMs) {
        await rest(() => waitOrWord(sink, retryInMs));
        continue;
      }
      let parts: Awaited<ReturnType<typeof open>>;
      try {
        parts = await open(sink);
      } catch (error) {
        options.logger.warn({ sink: sinkId, reason: messageOf(error) }, 'a sink cannot be worked with');
        await write((manager) => disableSink(manager, sink, messageOf(error)));
        return;
      }
      if (!(await replay(sink, parts.target))) continue;
      const { isEmpty, isMore } = await load(sink, parts.accepts);
      if (isEmpty) return;
      const progress = await writeBatches(sink, parts.target);
      if (progress === 'retry' || progress === 'changed' || (isMore && progress === 'written')) continue;
      const restMs = sink.maxAgeMs - pending.oldestMs();
      if (pending.size() > 0 && !nap.isWoken())
        await rest(() => nap.sleep(Math.max(5, Math.min(restMs, 1000))));
    }
  }

  try {
    await work();
    if (last && opened && failures === 0) await finishBegun(last, opened.target);
  } finally {
    await close();
  }
}
