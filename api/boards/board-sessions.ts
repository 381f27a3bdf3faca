/**
 * Ends a board's session at its router at once. Only a courtesy: the database has already refused the
 * board, and a wamp-agent that is not reached ends the session at its next look.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentDirectory } from '../../common/relay/agent-directory.ts';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { BoardAccess } from '../access.ts';

export interface BoardSessions {
  /** Returns at once; does its work behind. */
  disconnect(board: Pick<BoardAccess, 'uuid' | 'session'>, reason: 'revoked' | 'deleted'): void;
  /** Waits for what is under way. */
  stop(): Promise<void>;
}

export interface BoardSessionsOptions {
  directory: AgentDirectory;
  relayKey: string;
  logger: Logger;
}

const timeoutMs = 2000;
const stopGraceMs = 500;

export function createBoardSessions({ directory, relayKey, logger }: BoardSessionsOptions): BoardSessions {
  const underWay = new Set<Promise<void>>();

  async function send(boardUuid: string, cell: string, reason: string): Promise<void> {
    const [agent] = await directory.agentsOf(cell);
    if (!agent) return;
    const response = await fetch(`${agent.relayUrl}/relay/disconnect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${relayKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ boardUuid, reason }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`the relay answered ${response.status}`);
  }

  return {
    disconnect({ uuid, session }, reason) {
      if (!session) return;
      const work = send(uuid, session.cell, reason)
        .catch((error: unknown) => {
          logger.warn({ board: uuid, reason: messageOf(error) }, 'the board was not disconnected at once');
        })
        .finally(() => underWay.delete(work));
      underWay.add(work);
    },
    async stop() {
      await Promise.race([Promise.all(underWay), sleep(stopGraceMs, undefined, { ref: false })]);
    },
  };
}
