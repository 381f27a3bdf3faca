/**
 * Presence: a board's live session, boards.status and the `presence` event change together, in one
 * transaction. Whoever notices first writes (any wamp-agent, or a conductor); the others find
 * nothing left to do. Lock order everywhere: boards rows by uuid, then board_sessions.
 *
 * The caller appends the returned events as the last statement of its transaction.
 */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { AppError } from '../../runtime/app-error.ts';
import type { Connectivity } from '../../wamp/agent-procedures.ts';
import type { BoardStatus } from '../entities/boards.ts';
import type { NewEvent, PresencePayload } from './events.ts';

/** Rows in one statement at the most; a router's death is a few of these, not one per board. */
export const presenceBatch = 500;

export const sessionEndReasons = [
  /** The router said that the session left. */
  'left',
  /** A newer session of the same board took its place. */
  'replaced',
  /** The router does not know it any more. */
  'router-lost',
  /** No wamp-agent of the cell has been connected for a while. */
  'router-unreachable',
  'heartbeat-lapsed',
  'revoked',
] as const;
export type SessionEndReason = (typeof sessionEndReasons)[number];

export interface LiveSession {
  id: string;
  boardUuid: string;
  wampSession: number;
}

export interface SessionOpening {
  boardUuid: string;
  cell: string;
  agentId: string;
  wampSession: number;
  bootId: string;
  agentVersion: string;
  connectivity: Connectivity;
  /** What the answer to its hello tells the board. */
  heartbeatIntervalMs: number;
  remoteAddress: string | undefined;
  /** Identity of the board's journal of operations; undefined = it has none. */
  journalEpoch?: string | undefined;
}

export interface OpenedSession {
  sessionId: string;
  tenantId: string;
  boardName: string;
  contractsHash: string | null;
  /** The live session that this one took the place of. */
  replaced: { cell: string; wampSession: number } | undefined;
  /** The agent that the board's last hello before this one went to. */
  previousAgentId: string | undefined;
  /** Empty when the board was online with this very session. */
  events: NewEvent[];
}

interface BoardRow {
  uuid: string;
  tenantId: string;
  name: string;
  status: BoardStatus;
  contractsHash: string | null;
  now: Date;
}

async function lockBoards(manager: EntityManager, boardUuids: readonly string[]): Promise<BoardRow[]> {
  return manager.query(
    `SELECT uuid, tenant_id AS tenantId, name, status, contracts_hash AS contractsHash, UTC_TIMESTAMP(3) AS now
     FROM boards WHERE uuid IN (?) ORDER BY uuid FOR UPDATE`,
    [boardUuids],
  );
}

/**
 * Makes a WAMP session the board's live one. Saying it again for the same WAMP session changes
 * nothing but the facts. Throws `board-not-found`, `board-revoked`.
 */
export async function openSession(manager: EntityManager, opening: SessionOpening): Promise<OpenedSession> {
  const [board] = await lockBoards(manager, [opening.boardUuid]);
  if (!board) throw new AppError('board-not-found', 'this board does not exist');
  if (board.status === 'revoked') throw new AppError('board-revoked', 'this board is revoked');
  const { live, last } = await findLastSessions(manager, board.uuid);
  const old = live && { ...live, wampSession: Number(live.wampSession) };
  const known = old?.cell === opening.cell && old.wampSession === opening.wampSession;
  if (old && !known) await endRows(manager, [old.id], 'replaced', board.now);
  if (known)
    await manager.query('UPDATE board_sessions SET heartbeat_interval_ms = ?, agent_id = ? WHERE id = ?', [
      opening.heartbeatIntervalMs,
      opening.agentId,
      old.id,
    ]);
  const sessionId = known ? old.id : await insertSession(manager, opening, board.now);
  await manager.query(
    `UPDATE boards SET status = 'online', agent_version = ?, connectivity = ?, last_heartbeat_at = ?, last_seen_at = ?,
            journal_epoch = COALESCE(?, journal_epoch)
     WHERE uuid = ?`,
    [
      opening.agentVersion,
      JSON.stringify(opening.connectivity),
      board.now,
      board.now,
      opening.journalEpoch ?? null,
      board.uuid,
    ],
  );
  const changed = !known || board.status !== 'online';
  return {
    sessionId,
    tenantId: board.tenantId,
    boardName: board.name,
    contractsHash: board.contractsHash,
    replaced: old && !known ? { cell: old.cell, wampSession: old.wampSession } : undefined,
    previousAgentId: (live ?? last)?.agentId,
    events: changed ? [presenceEvent(board, 'online', old && !known ? 'replaced' : 'hello')] : [],
  };
}

interface SessionRow {
  id: string;
  isLive: number | null;
  cell: string;
  wampSession: number | string;
  agentId: string;
}

/** The live session, and the one that began last, which may be the same. */
async function findLastSessions(
  manager: EntityManager,
  boardUuid: string,
): Promise<{ live: SessionRow | undefined; last: SessionRow | undefined }> {
  const columns = 'id, live AS isLive, cell, wamp_session AS wampSession, agent_id AS agentId';
  const rows: SessionRow[] = await manager.query(
    `(SELECT ${columns} FROM board_sessions WHERE board_uuid = ? AND live = 1)
     UNION ALL
     (SELECT ${columns} FROM board_sessions WHERE board_uuid = ? ORDER BY started_at DESC LIMIT 1)`,
    [boardUuid, boardUuid],
  );
  return { live: rows.find((row) => row.isLive !== null), last: rows.at(-1) };
}

async function insertSession(manager: EntityManager, opening: SessionOpening, now: Date): Promise<string> {
  const id = randomUUID();
  await manager.query(
    `INSERT INTO board_sessions
       (id, board_uuid, live, cell, agent_id, wamp_session, boot_id, agent_version, heartbeat_interval_ms,
        remote_address, started_at)
     VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      id,
      opening.boardUuid,
      opening.cell,
      opening.agentId,
      opening.wampSession,
      // The column is ascii; a boot id is only compared.
      opening.bootId.replaceAll(/[^\x20-\x7e]/g, '?'),
      opening.agentVersion,
      opening.heartbeatIntervalMs,
      opening.remoteAddress?.slice(0, 100) ?? null,
      now,
    ],
  );
  return id;
}

/**
 * Ends those of the given sessions that are still live, at most `presenceBatch` of them. Answers
 * with the sessions that it ended and their events. Must be the first locking call of a transaction.
 */
export async function endSessions(
  manager: EntityManager,
  candidates: readonly Pick<LiveSession, 'id' | 'boardUuid'>[],
  reason: SessionEndReason,
): Promise<{ ended: string[]; events: NewEvent[] }> {
  if (candidates.length === 0) return { ended: [], events: [] };
  const boards = await lockBoards(manager, [...new Set(candidates.map((each) => each.boardUuid))].sort());
  const now = boards[0]?.now;
  if (!now) return { ended: [], events: [] };
  const live = (await manager.query(
    'SELECT id, board_uuid AS boardUuid FROM board_sessions WHERE id IN (?) AND live = 1 ORDER BY board_uuid FOR UPDATE',
    [candidates.map((each) => each.id)],
  )) as { id: string; boardUuid: string }[];
  if (live.length === 0) return { ended: [], events: [] };
  const ids = live.map((each) => each.id);
  await endRows(manager, ids, reason, now);
  const gone = new Set(live.map((each) => each.boardUuid));
  // Only a goodbye is a sign of life; the others tell of silence.
  const seen = reason === 'left' ? ', last_seen_at = UTC_TIMESTAMP(3)' : '';
  await manager.query(`UPDATE boards SET status = 'offline'${seen} WHERE uuid IN (?) AND status = 'online'`, [
    [...gone],
  ]);
  const changed = boards.filter((each) => gone.has(each.uuid) && each.status === 'online');
  return { ended: ids, events: changed.map((each) => presenceEvent(each, 'offline', reason)) };
}

async function endRows(
  manager: EntityManager,
  ids: readonly string[],
  reason: SessionEndReason,
  now: Date,
): Promise<void> {
  await manager.query(
    'UPDATE board_sessions SET live = NULL, ended_at = ?, end_reason = ? WHERE id IN (?) AND live = 1',
    [now, reason, ids],
  );
}

/** A `presence` event; public for whoever changes a board's status by other means (revoking it). */
export function presenceEvent(
  board: { uuid: string; tenantId: string; name: string; now: Date },
  status: BoardStatus,
  reason: string,
): NewEvent {
  const payload: PresencePayload = {
    board: board.uuid,
    name: board.name,
    status,
    reason,
    at: board.now.toISOString(),
  };
  return { tenantId: board.tenantId, boardUuid: board.uuid, type: 'presence', payload: { ...payload } };
}

/** Live sessions of a cell: all of them, or those with the given WAMP session ids. */
export async function findLiveSessions(
  manager: EntityManager,
  cell: string,
  wampSessions?: readonly number[],
): Promise<LiveSession[]> {
  if (wampSessions?.length === 0) return [];
  const rows = (await manager.query(
    `SELECT id, board_uuid AS boardUuid, wamp_session AS wampSession FROM board_sessions
     WHERE cell = ? AND live = 1${wampSessions ? ' AND wamp_session IN (?)' : ''}`,
    wampSessions ? [cell, wampSessions] : [cell],
  )) as (LiveSession & { wampSession: number | string })[];
  return rows.map((each) => ({ ...each, wampSession: Number(each.wampSession) }));
}

export async function countLiveSessions(manager: EntityManager, cell: string): Promise<number> {
  const [row] = (await manager.query('SELECT COUNT(*) AS n FROM board_sessions WHERE cell = ? AND live = 1', [
    cell,
  ])) as { n: number | string }[];
  return Number(row?.n ?? 0);
}

/** A board's live session, wherever it is. */
export async function findLiveSessionOf(
  manager: EntityManager,
  boardUuid: string,
): Promise<(LiveSession & { cell: string; isRevoked: boolean }) | undefined> {
  const [row] = (await manager.query(
    `SELECT s.id, s.board_uuid AS boardUuid, s.cell, s.wamp_session AS wampSession, b.status
     FROM board_sessions s JOIN boards b ON b.uuid = s.board_uuid WHERE s.board_uuid = ? AND s.live = 1`,
    [boardUuid],
  )) as (LiveSession & { cell: string; status: BoardStatus })[];
  if (!row) return undefined;
  const { status, ...session } = row;
  return { ...session, wampSession: Number(row.wampSession), isRevoked: status === 'revoked' };
}

/** How often a board's session was replaced within the last seconds: two devices with one key show here. */
export async function countReplacements(
  manager: EntityManager,
  boardUuid: string,
  withinSeconds: number,
): Promise<number> {
  const [row] = (await manager.query(
    `SELECT COUNT(*) AS n FROM board_sessions
     WHERE board_uuid = ? AND started_at > UTC_TIMESTAMP(3) - INTERVAL ? SECOND AND end_reason = 'replaced'`,
    [boardUuid, withinSeconds],
  )) as { n: number | string }[];
  return Number(row?.n ?? 0);
}
