/**
 * What the agent needs to know of a board at every turn, remembered for two seconds. Many questions
 * of one moment become one statement.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import type { BoardStatus } from '../../common/db/entities/boards.ts';

export interface BoardEntry {
  uuid: string;
  tenantId: string;
  name: string;
  status: BoardStatus;
  contractsHash: string | null;
  live: { id: string; cell: string; wampSession: number } | undefined;
}

export interface BoardDirectory {
  /** undefined = no such board. `fresh` asks the database whatever is remembered. */
  find(boardUuid: string, options?: { fresh?: boolean }): Promise<BoardEntry | undefined>;
  /** What is remembered; `known: false` = nothing is, the database would have to be asked. */
  peek(boardUuid: string): { known: false } | { known: true; board: BoardEntry | undefined };
  /** Forgets a board that was changed by this agent. */
  forget(boardUuid: string): void;
}

const freshMs = 2000;
const maxRemembered = 20_000;
const loadBatch = 500;

interface Remembered {
  entry: BoardEntry | undefined;
  readAt: number;
}

export function createBoardDirectory(
  database: Database,
  now: () => number = () => performance.now(),
): BoardDirectory {
  const remembered = new Map<string, Remembered>();
  const waiting = new Map<string, PromiseWithResolvers<BoardEntry | undefined>>();
  const loading = new Map<string, Promise<BoardEntry | undefined>>();
  let scheduled = false;

  function load(boardUuid: string): Promise<BoardEntry | undefined> {
    const asked = waiting.get(boardUuid) ?? Promise.withResolvers<BoardEntry | undefined>();
    waiting.set(boardUuid, asked);
    loading.set(boardUuid, asked.promise);
    if (!scheduled) {
      scheduled = true;
      setImmediate(() => void loadWaiting());
    }
    return asked.promise;
  }

  async function loadWaiting(): Promise<void> {
    scheduled = false;
    const asked = [...waiting];
    waiting.clear();
    for (let index = 0; index < asked.length; index += loadBatch)
      await loadChunk(asked.slice(index, index + loadBatch));
  }

  async function loadChunk(asked: [string, PromiseWithResolvers<BoardEntry | undefined>][]): Promise<void> {
    const readAt = now();
    try {
      const rows = await database.read((manager) =>
        findBoards(
          manager,
          asked.map(([uuid]) => uuid),
        ),
      );
      const found = new Map(rows.map((row) => [row.uuid, row]));
      for (const [uuid, { promise, resolve }] of asked) {
        const entry = found.get(uuid);
        // Forgotten meanwhile: what was read may be older than the change.
        if (loading.get(uuid) === promise) remember(uuid, { entry, readAt });
        resolve(entry);
      }
    } catch (error) {
      for (const [, { reject }] of asked) reject(error);
    } finally {
      for (const [uuid, { promise }] of asked) if (loading.get(uuid) === promise) loading.delete(uuid);
    }
  }

  function remember(uuid: string, value: Remembered): void {
    remembered.delete(uuid);
    remembered.set(uuid, value);
    if (remembered.size <= maxRemembered) return;
    // A Map keeps the order of insertion: the first is the oldest.
    for (const oldest of remembered.keys()) {
      remembered.delete(oldest);
      break;
    }
  }

  function peek(boardUuid: string): ReturnType<BoardDirectory['peek']> {
    const found = remembered.get(boardUuid);
    const isFresh = found !== undefined && now() - found.readAt <= freshMs;
    return isFresh ? { known: true, board: found.entry } : { known: false };
  }

  return {
    peek,
    find(boardUuid, { fresh = false } = {}) {
      const remembrance = peek(boardUuid);
      if (!fresh && remembrance.known) return Promise.resolve(remembrance.board);
      // A load under way may have read before the caller's moment: only a waiting one is fresh.
      return (fresh ? undefined : loading.get(boardUuid)) ?? load(boardUuid);
    },
    forget(boardUuid) {
      remembered.delete(boardUuid);
      loading.delete(boardUuid);
    },
  };
}

interface BoardRow {
  uuid: string;
  tenantId: string;
  name: string;
  status: BoardStatus;
  contractsHash: string | null;
  sessionId: string | null;
  cell: string | null;
  wampSession: number | string | null;
}

async function findBoards(manager: EntityManager, uuids: readonly string[]): Promise<BoardEntry[]> {
  const rows = (await manager.query(
    `SELECT b.uuid, b.tenant_id AS tenantId, b.name, b.status, b.contracts_hash AS contractsHash,
            s.id AS sessionId, s.cell, s.wamp_session AS wampSession
     FROM boards b LEFT JOIN board_sessions s ON s.board_uuid = b.uuid AND s.live = 1
     WHERE b.uuid IN (?)`,
    [uuids],
  )) as BoardRow[];
  return rows.map(({ sessionId, cell, wampSession, ...board }) => ({
    ...board,
    live:
      sessionId === null ? undefined : { id: sessionId, cell: cell ?? '', wampSession: Number(wampSession) },
  }));
}
