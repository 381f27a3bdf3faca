/** Reads of the `events` table. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { type EventStamp, eventWindowMs } from './event-window.ts';

export interface EventRecord {
  id: number;
  /** Epoch milliseconds. */
  at: number;
  tenantId: string;
  boardUuid: string | null;
  type: string;
  payload: JsonObject;
}

/** Stamps since a time (undefined = one window ago), and the database's clock. */
export async function readStamps(
  manager: EntityManager,
  since: number | undefined,
): Promise<{ now: number; stamps: EventStamp[] }> {
  const start = since === undefined ? 'UTC_TIMESTAMP(3) - INTERVAL ? SECOND' : '?';
  const rows = (await manager.query(
    `SELECT UTC_TIMESTAMP(3) AS now, id, created_at AS at FROM events WHERE created_at >= ${start}
     UNION ALL SELECT UTC_TIMESTAMP(3), NULL, NULL`,
    [since === undefined ? eventWindowMs / 1000 : new Date(since)],
  )) as { now: Date; id: number | null; at: Date }[];
  return {
    now: rows[0]?.now.getTime() ?? Date.now(),
    stamps: rows.flatMap(({ id, at }) => (id === null ? [] : [{ id: Number(id), at: at.getTime() }])),
  };
}

const columns = 'id, created_at AS at, tenant_id AS tenantId, board_uuid AS boardUuid, type, payload';

/** Rows by id, ascending. */
export async function readEvents(manager: EntityManager, ids: readonly number[]): Promise<EventRecord[]> {
  const rows = await manager.query(`SELECT ${columns} FROM events WHERE id IN (?) ORDER BY id`, [ids]);
  return (rows as RawEvent[]).map(toRecord);
}

/** Rows since a time, oldest first, at most `limit`; `tenants` null = of all. */
export async function readEventsSince(
  manager: EntityManager,
  since: number,
  tenants: readonly string[] | null,
  limit: number,
): Promise<EventRecord[]> {
  if (tenants?.length === 0) return [];
  const rows = await manager.query(
    `SELECT ${columns} FROM events WHERE created_at >= ? ${tenants ? 'AND tenant_id IN (?)' : ''}
     ORDER BY created_at, id LIMIT ?`,
    tenants ? [new Date(since), tenants, limit] : [new Date(since), limit],
  );
  return (rows as RawEvent[]).map(toRecord);
}

type RawEvent = Omit<EventRecord, 'at' | 'payload'> & { at: Date; payload: JsonObject | string };

function toRecord(row: RawEvent): EventRecord {
  return { ...row, id: Number(row.id), at: row.at.getTime(), payload: fromJsonColumn(row.payload) };
}
