/**
 * The operations that wait or run on this board: in the order in which they came, a few at a time.
 *
 *   accepted (waits) → running → succeeded | failed | cancelled
 *        ↘ expired, cancelled   ↘ (agent died) run again | failed | interrupted: recovery.ts
 *
 * A procedure that must not run twice begins only when `running` is on disk.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Progress, ReportError } from '../../common/wamp/operations.ts';
import { type Clock, pause } from '../clock.ts';
import { checkKwargs, type Registry } from '../procedures/registry.ts';
import type { ServerClock } from '../server-clock.ts';
import { type Entry, isEnded } from './entry.ts';
import { type ArtifactKeeper, type Execution, execute } from './execution.ts';
import type { Journal } from './journal.ts';
import { cancelledError, overdueError, reportError } from './outcome.ts';
import { recover } from './recovery.ts';

export interface QueueOptions {
  journal: Journal;
  registry: Registry;
  clock: Clock;
  serverClock: ServerClock;
  logger: Logger;
  /** An outcome is in the journal. `answered`: a caller waits for it, and hears of it first. */
  onEnded?: (entry: Entry, answered: boolean) => void;
  onProgress?: (entry: Entry, progress: Progress) => void;
  artifacts: (entry: Entry) => ArtifactKeeper;
}

export interface Queue {
  /** Takes a new entry in state `accepted`. False = the journal cannot: nothing will run. */
  accept(entry: Entry, trace?: string): boolean;
  /** What waits or runs; undefined for all others. */
  find(operationId: string): Active | undefined;
  /** What waits or runs of a schedule. */
  ofSchedule(scheduleId: string): Active[];
  /** What waits is cancelled, what runs is told to stop. Counts with the journal's next commit. */
  cancel(operationId: string): void;
  /** Goes on with what an earlier process has left. */
  start(): void;
  /** Begins nothing any more, tells what runs to stop, and waits a little for it. */
  stop(): Promise<void>;
  isStopping(): boolean;
  counts(): { waiting: number; running: number };
  /** The journal was replaced: what is in memory goes into the new one. */
  putAgain(): void;
}

export interface Active extends Execution {
  phase: 'waiting' | 'running' | 'ended';
  bytes: number;
  ended: PromiseWithResolvers<void>;
  /** Callers of `operation.run` that wait for the end. */
  waiters: number;
  /** Its deadline has passed while it ran. */
  overdue: boolean;
  cancelTimer: () => void;
}

export const queueLimits = {
  concurrent: 4,
  /** Procedures that go on past their deadline count apart, up to here. */
  stuck: 12,
  waiting: 1000,
  /** JSON text of the arguments of all that waits: they are kept in memory. */
  waitingBytes: 8_388_608,
  /** How long a procedure has to obey its signal before it counts as one that does not. */
  obeyMs: 200,
  stopMs: 3000,
  /** A full disk is tried again. */
  retryMs: 2000,
} as const;

export function createQueue(options: QueueOptions): Queue {
  const { journal, registry, clock, serverClock } = options;
  const actives = new Map<string, Active>();
  /** Ended for the journal by their deadline, but their procedures go on. */
  const stuck = new Set<Active>();
  let cancelRetry: (() => void) | undefined;
  let stopping = false;

  const inPhase = (phase: Active['phase']) => [...actives.values()].filter((each) => each.phase === phase);

  function accept(entry: Entry, trace?: string): boolean {
    if (!journal.hasRoom()) return false;
    const late = serverClock.now() >= entry.deadlineAt;
    const error = late ? undefined : faultOf(entry);
    if (late || error) {
      settleAtOnce({ ...entry, ...(error ? { state: 'failed', error } : { state: 'expired' }) });
      return true;
    }
    const waiting = inPhase('waiting');
    const bytes = waiting.reduce((sum, each) => sum + each.bytes, 0);
    if (waiting.length >= queueLimits.waiting || bytes > queueLimits.waitingBytes)
      throw new AppError('too-many-calls', `${waiting.length} operations wait on this board already`);
    const active = enqueue(entry, trace);
    pump();
    if (entry.safety === 'idempotent' || journal.isStored(entry.operationId) || journal.commit()) return true;
    active.cancelTimer();
    actives.delete(entry.operationId);
    journal.forget(entry.operationId);
    return false;
  }

  function faultOf(entry: Entry): ReportError | undefined {
    try {
      checkKwargs(registry.get(entry.procedure).contract, entry.kwargs);
      return undefined;
    } catch (error) {
      return reportError(error);
    }
  }

  /** It ends without having begun. */
  function settleAtOnce(entry: Entry): void {
    const ended = { ...entry, endedAt: serverClock.now() };
    journal.put(ended);
    if (entry.safety !== 'idempotent') journal.commit();
    options.onEnded?.(ended, entry.schedule === undefined);
  }

  function enqueue(entry: Entry, trace?: string): Active {
    const active: Active = {
      entry,
      trace,
      bytes: JSON.stringify(entry.kwargs).length,
      phase: 'waiting',
      abort: new AbortController(),
      ended: Promise.withResolvers(),
      waiters: 0,
      overdue: false,
      cancelTimer: () => {},
    };
    actives.set(entry.operationId, active);
    journal.put(entry);
    const { notBefore = 0, deadlineAt } = entry;
    const armDeadline = () => {
      active.cancelTimer = serverClock.at(deadlineAt, () => onDeadline(active));
    };
    if (notBefore <= serverClock.now()) armDeadline();
    else
      active.cancelTimer = serverClock.at(Math.min(notBefore, deadlineAt), () => {
        armDeadline();
        pump();
      });
    return active;
  }

  /** Begins what there is room for. */
  function pump(): void {
    if (stopping) return;
    const { concurrent } = queueLimits;
    for (const active of inPhase('waiting')) {
      const running = inPhase('running').length;
      if (running >= concurrent || running + stuck.size >= concurrent + queueLimits.stuck) return;
      // Beginning one may have ended others.
      if (active.phase !== 'waiting' || !mayBegin(active.entry)) continue;
      if (launch(active)) continue;
      cancelRetry ??= clock.after(queueLimits.retryMs, () => {
        cancelRetry = undefined;
        pump();
      });
      return;
    }
  }

  /** Two runs of one schedule never go side by side. */
  function mayBegin({ notBefore = 0, schedule }: Entry): boolean {
    if (notBefore > serverClock.now()) return false;
    if (!schedule) return true;
    return !inPhase('running').some((each) => each.entry.schedule?.scheduleId === schedule.scheduleId);
  }

  /** False = the journal cannot be written; it waits on. */
  function launch(active: Active): boolean {
    const before = active.entry;
    // An update of the agent may have taken the procedure away, or changed it, while it waited.
    const error = faultOf(before);
    if (error) {
      end(active, before.runs > 0 ? { state: 'interrupted' } : { state: 'failed', error });
      return true;
    }
    active.entry = { ...before, state: 'running', runs: before.runs + 1, startedAt: serverClock.now() };
    journal.put(active.entry);
    if (before.safety !== 'idempotent' && !journal.commit()) {
      active.entry = before;
      journal.put(before);
      return false;
    }
    active.phase = 'running';
    const procedure = registry.get(before.procedure);
    void execute(active, procedure, {
      ...options,
      artifacts: options.artifacts(active.entry),
      onProgress(progress) {
        if (active.phase !== 'running') return;
        active.progress = progress;
        options.onProgress?.(active.entry, progress);
      },
    }).then((outcome) => finish(active, outcome));
    return true;
  }

  /** The procedure has ended, one way or the other. */
  function finish(active: Active, outcome: Partial<Entry>): void {
    const threw = outcome.state === 'failed';
    if (stuck.delete(active)) {
      pump();
    } else if (active.overdue) {
      end(active, { state: 'failed', error: overdueError(active.entry.procedure, false) });
    } else if (threw && active.entry.cancelRequested) {
      end(active, { ...outcome, state: 'cancelled', error: cancelledError(outcome.error) });
    } else if (threw && stopping) {
      // It stays `running` in the journal: the next start decides by its contract.
      active.phase = 'ended';
      active.ended.resolve();
    } else {
      end(active, outcome);
    }
  }

  function onDeadline(active: Active): void {
    if (active.phase === 'waiting') {
      const begun = active.entry.runs > 0;
      const error = overdueError(active.entry.procedure, false);
      end(active, begun ? { state: 'failed', error } : { state: 'expired' });
      return;
    }
    active.overdue = true;
    active.abort.abort(new AppError('deadline-exceeded', 'the deadline of the operation has passed'));
    active.cancelTimer = clock.after(queueLimits.obeyMs, () => {
      stuck.add(active);
      // What runs again without harm leaves no question open.
      end(active, {
        state: 'failed',
        error: overdueError(active.entry.procedure, active.entry.safety !== 'idempotent'),
      });
    });
  }

  /** Puts the outcome into the journal and tells who waits. */
  function end(active: Active, outcome: Partial<Entry>): void {
    active.cancelTimer();
    active.phase = 'ended';
    active.entry = { ...active.entry, ...outcome, endedAt: serverClock.now() };
    journal.put(active.entry);
    if (active.entry.safety !== 'idempotent') journal.commit();
    actives.delete(active.entry.operationId);
    options.onEnded?.(active.entry, active.waiters > 0);
    active.ended.resolve();
    pump();
  }

  return {
    accept,
    find: (operationId) => actives.get(operationId),
    ofSchedule: (scheduleId) =>
      [...actives.values()].filter((each) => each.entry.schedule?.scheduleId === scheduleId),
    cancel(operationId) {
      const active = actives.get(operationId);
      if (active?.phase === 'waiting') return end(active, { state: 'cancelled' });
      if (active?.phase !== 'running') return;
      active.entry = { ...active.entry, cancelRequested: true };
      journal.put(active.entry);
      active.abort.abort(new AppError('conflict', 'the operation was cancelled'));
    },
    start() {
      for (const entry of recover(journal.unfinished(), registry, serverClock.now())) {
        if (!isEnded(entry)) {
          enqueue(entry);
          continue;
        }
        journal.put(entry);
        options.onEnded?.(entry, false);
      }
      journal.commit();
      pump();
    },
    async stop() {
      stopping = true;
      cancelRetry?.();
      const running = inPhase('running');
      for (const active of actives.values()) active.cancelTimer();
      for (const active of running) active.abort.abort(new AppError('unavailable', 'the agent is stopping'));
      const all = new AbortController();
      void Promise.all(running.map((each) => each.ended.promise)).then(() => all.abort());
      if (running.length > 0) await pause(clock, queueLimits.stopMs, all.signal);
      journal.commit();
    },
    isStopping: () => stopping,
    counts: () => ({ waiting: inPhase('waiting').length, running: inPhase('running').length }),
    putAgain() {
      for (const { entry } of actives.values()) journal.put(entry);
      journal.commit();
    },
  };
}
