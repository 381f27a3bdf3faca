/**
 * Asks boards to report their modules now, so that a decision holds at once. Only a courtesy: a board
 * that is not reached learns of it with its next report. Nobody waits for it, and nothing fails by it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import type { AgentDirectory } from '../../common/relay/agent-directory.ts';
import { createRelayClient } from '../../common/relay/relay-client.ts';
import { messageOf } from '../../common/runtime/app-error.ts';
import { inTurn } from '../../common/runtime/in-turn.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { reservedProcedures } from '../../common/wamp/uris.ts';
import { createTraceparent } from '../http/request-context.ts';

export interface AskedBoard {
  uuid: string;
  session: { id: string; cell: string } | null;
}

export interface BoardAsks {
  /** Return at once; do their work behind. */
  askBoard(board: AskedBoard, traceparent: string): void;
  /** Every board of a tenant that has devices behind it. */
  askTenant(tenantId: string, traceparent: string): void;
  /** Ends what is under way. */
  stop(): Promise<void>;
}

export interface BoardAsksOptions {
  database: Database;
  directory: AgentDirectory;
  relayKey: string;
  logger: Logger;
}

const timeoutMs = 5000;
const atOnce = 16;
const stopGraceMs = 500;
/** More than a cell has; those beyond it wait for their next report. */
const boardsOfTenant = 10_000;

export function createBoardAsks({ database, directory, relayKey, logger }: BoardAsksOptions): BoardAsks {
  const relay = createRelayClient({ directory, key: relayKey, logger });
  const stopping = new AbortController();
  const underWay = new Set<Promise<void>>();

  async function ask({ uuid, session }: AskedBoard, traceparent: string): Promise<void> {
    if (!session || stopping.signal.aborted) return;
    try {
      await relay.call(
        session.cell,
        {
          boardUuid: uuid,
          sessionId: session.id,
          procedure: reservedProcedures.modules,
          kwargs: {},
          timeoutMs,
          contractsHash: null,
          requestId: createTraceparent(traceparent).traceparent,
          caller: { kind: 'process', id: 'api' },
        },
        { signal: stopping.signal },
      );
    } catch (error) {
      logger.debug({ board: uuid, reason: messageOf(error) }, 'a board was not asked for its modules');
    }
  }

  async function askAll(tenantId: string, traceparent: string): Promise<void> {
    const boards = await database.read((manager) => findHearingBoards(manager, tenantId));
    await inTurn(boards, atOnce, (board) => ask(board, traceparent));
  }

  function behind(work: Promise<void>): void {
    const noted = work
      .catch((error: unknown) => {
        logger.warn({ reason: messageOf(error) }, 'boards were not asked for their modules');
      })
      .finally(() => underWay.delete(noted));
    underWay.add(noted);
  }

  return {
    askBoard: (board, traceparent) => behind(ask(board, traceparent)),
    askTenant: (tenantId, traceparent) => behind(askAll(tenantId, traceparent)),
    async stop() {
      stopping.abort();
      await Promise.race([Promise.all(underWay), sleep(stopGraceMs, undefined, { ref: false })]);
      relay.close();
    },
  };
}

/** Online boards of a tenant that have reported sources. */
async function findHearingBoards(manager: EntityManager, tenantId: string): Promise<AskedBoard[]> {
  const rows = (await manager.query(
    `SELECT b.uuid, s.id, s.cell FROM boards b JOIN board_sessions s ON s.board_uuid = b.uuid AND s.live = 1
     WHERE b.tenant_id = ? AND EXISTS (SELECT 1 FROM board_sources x WHERE x.board_uuid = b.uuid)
     LIMIT ?`,
    [tenantId, boardsOfTenant],
  )) as { uuid: string; id: string; cell: string }[];
  return rows.map(({ uuid, ...session }) => ({ uuid, session }));
}
