/**
 * Rows of the `events` table: what live listeners must not miss. Appended as the last statement
 * before COMMIT, because a tail re-reads only a few seconds for ids that became visible late.
 */
import type { EntityManager } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import type { BoardStatus } from '../entities/boards.ts';

/** How long rows are kept: a listener that was away for longer is told to read the state again. */
export const eventsKeptMs = 24 * 3_600_000;

export interface NewEvent {
  tenantId: string;
  boardUuid: string | null;
  type: string;
  payload: JsonObject;
}

/** Payload of an event of type `presence`. */
export interface PresencePayload {
  board: string;
  name: string;
  status: BoardStatus;
  /** Why it changed: `hello`, `left`, `router-lost`, `replaced`, `heartbeat-lapsed`, `revoked`, … */
  reason: string;
  /** RFC 3339. */
  at: string;
}

export async function appendEvents(manager: EntityManager, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const rows = events.map((each) => [each.tenantId, each.boardUuid, each.type, JSON.stringify(each.payload)]);
  await manager.query('INSERT INTO events (tenant_id, board_uuid, type, payload) VALUES ?', [rows]);
}
