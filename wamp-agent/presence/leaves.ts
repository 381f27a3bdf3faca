/**
 * Sessions that the router says have left. Every agent of the cell hears of each; whoever writes
 * first ends the row. Many at once (a router that drops a thousand boards) become a few statements.
 */
import type { Database } from '../../common/db/database.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import {
  endSessions,
  findLiveSessions,
  type LiveSession,
  presenceBatch,
  type SessionEndReason,
} from '../../common/db/queries/presence.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { BoardDirectory } from '../boards/directory.ts';
import type { PresenceChanges } from './changes.ts';

export interface Leaves {
  /** The router said so. */
  note(wampSession: number): void;
  /** Whether it left within the last minutes. */
  hasLeft(wampSession: number): boolean;
  /** Ends the given sessions for another reason, in bounded transactions. */
  end(sessions: readonly LiveSession[], reason: SessionEndReason): Promise<void>;
  stop(): Promise<void>;
}

export interface LeavesOptions {
  database: Database;
  cell: string;
  directory: BoardDirectory;
  changes: PresenceChanges;
  logger: Logger;
  delayMs?: () => number;
}

const maxRemembered = 50_000;
const retryMs = 1000;

export function createLeaves(options: LeavesOptions): Leaves {
  const { database, cell, logger } = options;
  // The agents of a cell hear of a leave at the same moment; the later one finds it done.
  const delayMs = options.delayMs ?? (() => 5 + Math.random() * 40);
  const left = new Set<number>();
  let pending = new Set<number>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> | undefined;
  let stopped = false;

  function schedule(afterMs: number): void {
    if (timer || writing || stopped || pending.size === 0) return;
    timer = setTimeout(() => {
      timer = undefined;
      writing = flush().finally(() => {
        writing = undefined;
      });
      void writing.then(
        () => schedule(delayMs()),
        () => schedule(retryMs),
      );
    }, afterMs);
  }

  async function flush(): Promise<void> {
    const wampSessions = [...pending].slice(0, presenceBatch);
    // Before the look: one that is told again during it (its hello has just been written) stays.
    for (const each of wampSessions) pending.delete(each);
    try {
      const live = await database.read((manager) => findLiveSessions(manager, cell, wampSessions));
      await end(live, 'left');
    } catch (error) {
      for (const each of wampSessions) pending.add(each);
      logger.warn({ err: error, waiting: pending.size }, 'leaves could not be written, will try again');
      throw error;
    }
  }

  async function end(sessions: readonly LiveSession[], reason: SessionEndReason): Promise<void> {
    for (let index = 0; index < sessions.length; index += presenceBatch) {
      const chunk = sessions.slice(index, index + presenceBatch);
      const { events } = await database.transaction(
        async (manager) => {
          const result = await endSessions(manager, chunk, reason);
          await appendEvents(manager, result.events);
          return result;
        },
        { repeatable: true },
      );
      for (const each of chunk) options.directory.forget(each.boardUuid);
      options.changes.announce(events);
    }
  }

  return {
    note(wampSession) {
      left.add(wampSession);
      pending.add(wampSession);
      // What is dropped here is found by the comparison with the router's list.
      if (pending.size > maxRemembered) pending = new Set([wampSession]);
      if (left.size > maxRemembered)
        for (const oldest of left) {
          left.delete(oldest);
          break;
        }
      schedule(delayMs());
    },
    hasLeft: (wampSession) => left.has(wampSession),
    end,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await writing?.catch(() => undefined);
    },
  };
}
