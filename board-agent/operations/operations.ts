/** Operations of one board, put together: journal, queue, files, schedules, and what tells the server. */
import { join } from 'node:path';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { reservedProcedures } from '../../common/wamp/uris.ts';
import type { Clock } from '../clock.ts';
import type { Registry } from '../procedures/registry.ts';
import type { ServerClock } from '../server-clock.ts';
import type { BoardSession } from '../session/board-session.ts';
import { createArtifactStore } from './artifacts.ts';
import { createJournal, type JournalStats } from './journal.ts';
import { createProgressSender } from './progress-sender.ts';
import { createQueue } from './queue.ts';
import { createReporter } from './reporter.ts';
import { createRunner } from './runner.ts';
import { createSchedules } from './schedules.ts';

export interface OperationsOptions {
  stateDir: string;
  boardUuid: string;
  registry: Registry;
  clock: Clock;
  serverClock: ServerClock;
  logger: Logger;
  random?: () => number;
  call: BoardSession['call'];
  /** The journal was replaced: the server has to hear of its new epoch. */
  onNewEpoch: () => void;
  onFailure: (message: string) => void;
}

export interface OperationsStats extends JournalStats {
  waiting: number;
  running: number;
  /** Run by the board itself. */
  schedules: number;
}

export interface Operations {
  /** Handlers of the reserved procedures, by name. */
  reserved: Record<string, (kwargs: object, trace?: string) => unknown>;
  epoch(): string;
  /** Goes on with what an earlier process has left. */
  start(): void;
  /** Online: reports until the signal aborts. */
  report(signal: AbortSignal): Promise<void>;
  /** hello was answered: the server's clock is known. */
  noteGreeting(): void;
  stop(): Promise<void>;
  /** After `stop`. */
  close(): void;
  stats(): OperationsStats;
}

const progressTimeoutMs = 10_000;

export function createOperations(options: OperationsOptions): Operations {
  const { stateDir, registry, clock, serverClock, logger } = options;

  const journal = createJournal({
    path: join(stateDir, 'journal.db'),
    boardUuid: options.boardUuid,
    clock,
    serverNow: serverClock.now,
    logger,
    onRecovered: () => reporter.wake(),
    onNewEpoch: () => {
      queue.putAgain();
      options.onNewEpoch();
    },
  });

  const files = createArtifactStore(join(stateDir, 'artifacts'));

  const progress = createProgressSender({
    clock,
    send: (request) => options.call('operationProgress', request, progressTimeoutMs),
  });

  const reporter = createReporter({
    journal,
    files,
    clock,
    logger,
    ...(options.random && { random: options.random }),
    sendReports: (request, timeoutMs) => options.call('operationResult', request, timeoutMs),
    putArtifact: (chunk, timeoutMs) => options.call('putArtifact', chunk, timeoutMs),
    onFailure: (error) => options.onFailure(messageOf(error)),
  });

  const queue = createQueue({
    journal,
    registry,
    clock,
    serverClock,
    logger,
    artifacts: ({ operationId }) => files.keeper(operationId),
    onProgress({ operationId, attempt }, said) {
      // The server takes it for running from then on.
      if (!journal.isStored(operationId)) journal.commit();
      progress.note(operationId, attempt, said);
    },
    onEnded(entry, answered) {
      progress.forget(entry.operationId);
      reporter.noteEnded(entry, answered);
    },
  });

  const runner = createRunner({ journal, queue, registry, clock, serverClock });

  const schedules = createSchedules({
    ...{ journal, queue, registry, clock, serverClock, logger },
    ...(options.random && { random: options.random }),
  });

  function needsFiles(operationId: string): boolean {
    try {
      return journal.find(operationId)?.acknowledged === false;
    } catch {
      // A journal that cannot be read just now is no reason to delete anything.
      return true;
    }
  }

  return {
    reserved: {
      [reservedProcedures.run]: runner.run,
      [reservedProcedures.cancel]: runner.cancel,
      [reservedProcedures.status]: runner.status,
      [reservedProcedures.schedules]: schedules.replace,
    },
    epoch: journal.epoch,
    start() {
      files.sweep(needsFiles);
      queue.start();
      void schedules.start();
    },
    report: reporter.run,
    noteGreeting() {
      journal.confirmSince();
      schedules.revise();
    },
    async stop() {
      schedules.stop();
      await queue.stop();
      progress.stop();
    },
    close: journal.close,
    stats: () => ({ ...journal.stats(), ...queue.counts(), schedules: schedules.count() }),
  };
}
