/**
 * Writes what came of the calls, for many boards in one transaction: one is under way, and the next
 * takes all that gathered meanwhile. So a commit, which costs a disk flush, is shared by as many as
 * there are. What cannot be written is dropped: its targets are on record as `dispatched` and its
 * boards stay held until their lease ends, and then whoever looks asks or sends again.
 */
import type { Database } from '../../common/db/database.ts';
import type { BoardRelease } from '../../common/db/queries/board-queues.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { endOperations } from '../../common/db/queries/operation-ends.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { PlannedChange } from './views.ts';
import { type Written, writeOutcomes } from './write-outcomes.ts';

export interface BoardRecord {
  boardUuid: string;
  changes: readonly PlannedChange[];
  /** undefined = the board stays held. */
  release: BoardRelease | undefined;
}

/** Of the changes of the board, those that met a newer version; undefined = nothing could be written. */
export type Recorded = { lost: readonly PlannedChange[] } | undefined;

export interface Recorder {
  /** Settles when it is committed, or will not be; never rejects. */
  record(record: BoardRecord): Promise<Recorded>;
  /** Operations of several targets, one of which ended in a transaction of somebody else's. */
  mayHaveEnded(operationIds: readonly string[]): void;
  /** Settles when nothing waits to be written. */
  settle(): Promise<void>;
}

export interface RecorderOptions {
  database: Database;
  owner: string;
  logger: Logger;
  /** The database's clock, epoch milliseconds. */
  now: () => number;
  onWritten: (written: Written) => void;
  onEnded: (operationIds: readonly string[]) => void;
  onCommit?: (seconds: number) => void;
}

const boardsAtOnce = 200;
const operationsAtOnce = 200;
/** Beyond it the lease is nearly over, and another conductor's word counts. */
const deadlineMs = 8000;

interface Waiting extends BoardRecord {
  done: (recorded: Recorded) => void;
}

export function createRecorder(options: RecorderOptions): Recorder {
  const { database, owner, logger } = options;
  const waiting: Waiting[] = [];
  const ending = new Set<string>();
  let running: Promise<void> | undefined;

  function start(): void {
    running ??= run().finally(() => {
      running = undefined;
      // What came in after the last look.
      if (waiting.length + ending.size > 0) start();
    });
  }

  async function run(): Promise<void> {
    while (waiting.length > 0) {
      // Whoever is about to add something in this turn of the event loop comes along.
      await new Promise((resolve) => setImmediate(resolve));
      await write(waiting.splice(0, boardsAtOnce));
    }
    if (ending.size > 0) await end();
  }

  async function write(batch: readonly Waiting[]): Promise<void> {
    const startedAt = performance.now();
    const outcomes = {
      changes: batch.flatMap(({ changes }) => changes),
      releases: batch.flatMap(({ release }) => release ?? []),
      now: options.now(),
    };
    try {
      const written = await database.transaction((manager) => writeOutcomes(manager, owner, outcomes), {
        // Written again, the changes meet newer versions, and the boards are not held any more.
        repeatable: true,
        deadlineMs,
      });
      for (const each of written.mayHaveEnded) ending.add(each);
      options.onWritten(written);
      options.onEnded(written.ended);
      options.onCommit?.((performance.now() - startedAt) / 1000);
      for (const { boardUuid, done } of batch)
        done({ lost: written.lost.filter((each) => each.boardUuid === boardUuid) });
    } catch (error) {
      const [first, ...others] = batch;
      // A database that is away is away for all; what else cannot be written is the fault of one.
      if (first && others.length > 0 && !(error instanceof AppError)) {
        const half = Math.ceil(batch.length / 2);
        await write(batch.slice(0, half));
        await write(batch.slice(half));
        return;
      }
      const boards = batch.map(({ boardUuid }) => boardUuid).slice(0, 10);
      const text = 'outcomes could not be written, boards will be asked for them';
      if (error instanceof AppError) logger.warn({ err: error, boards, count: batch.length }, text);
      else logger.error({ err: error, boards }, text);
      for (const { done } of batch) done(undefined);
    }
  }

  async function end(): Promise<void> {
    const ids = [...ending].slice(0, operationsAtOnce);
    for (const id of ids) ending.delete(id);
    try {
      const ended = await database.transaction(
        async (manager) => {
          const events = await endOperations(manager, ids);
          await appendEvents(manager, events);
          return events.map(({ payload }) => String(payload.operation));
        },
        { repeatable: true, deadlineMs },
      );
      options.onEnded(ended);
    } catch (error) {
      logger.warn({ err: error }, 'ends of operations could not be written, the next sweep finds them');
    }
  }

  return {
    record: (record) =>
      new Promise((resolve) => {
        waiting.push({ ...record, done: resolve });
        start();
      }),
    mayHaveEnded(operationIds) {
      for (const each of operationIds) ending.add(each);
      if (ending.size > 0) start();
    },
    async settle() {
      while (running) await running;
    },
  };
}
