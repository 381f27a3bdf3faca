/** What handing out schedules reads and writes. */
import type { EntityManager } from 'typeorm';
import {
  type RawScheduleRow,
  type ScheduleRow,
  scheduleColumns,
  toScheduleRow,
} from '../../common/db/queries/schedule-rows.ts';
import type { AppError } from '../../common/runtime/app-error.ts';
import { auditRefusal } from './schedule-queries.ts';

/** Tenants that have schedules for boards to run, or boards that still hold some. */
export async function findOfflineTenants(manager: EntityManager): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT DISTINCT tenant_id AS id FROM schedules WHERE offline = 1 AND state = 'active'
     UNION SELECT DISTINCT tenant_id FROM board_schedules`,
  )) as { id: string }[];
  return rows.map(({ id }) => id);
}

export async function findOfflineSchedules(manager: EntityManager, tenantId: string): Promise<ScheduleRow[]> {
  const rows = (await manager.query(
    `SELECT ${scheduleColumns} FROM schedules WHERE offline = 1 AND state = 'active' AND tenant_id = ?`,
    [tenantId],
  )) as RawScheduleRow[];
  return rows.map(toScheduleRow);
}

/** Why its boards do not have it; null = they may. */
export async function noteError(
  manager: EntityManager,
  schedule: ScheduleRow,
  error: AppError | null,
): Promise<void> {
  await manager.query('UPDATE schedules SET last_error = ? WHERE id = ? AND version = ?', [
    error?.message.slice(0, 500) ?? null,
    schedule.id,
    schedule.version,
  ]);
  if (error) await auditRefusal(manager, schedule, error);
}

export interface Handed {
  hash: string;
  epoch: string | null;
}

/** What boards of the tenant were given, by board. */
export async function findHandedTo(manager: EntityManager, tenantId: string): Promise<Map<string, Handed>> {
  const rows = (await manager.query(
    'SELECT board_uuid AS uuid, handed_hash AS hash, handed_epoch AS epoch FROM board_schedules WHERE tenant_id = ?',
    [tenantId],
  )) as (Handed & { uuid: string })[];
  return new Map(rows.map(({ uuid, ...handed }) => [uuid, handed]));
}

export interface OnlineBoard {
  uuid: string;
  contractsHash: string | null;
  /** As the board told at its last hello. */
  journalEpoch: string | null;
  sessionId: string;
  cell: string;
}

/** By name while they are few; a long list costs more than to pass over the others. */
const namedBoards = 1000;

export async function findOnlineBoards(
  manager: EntityManager,
  tenantId: string,
  boardUuids: readonly string[],
): Promise<OnlineBoard[]> {
  if (boardUuids.length === 0) return [];
  const isShort = boardUuids.length <= namedBoards;
  return manager.query(
    `SELECT b.uuid, b.contracts_hash AS contractsHash, b.journal_epoch AS journalEpoch, s.id AS sessionId, s.cell
     FROM boards b JOIN board_sessions s ON s.board_uuid = b.uuid AND s.live = 1
     WHERE b.tenant_id = ? AND b.status = 'online'${isShort ? ' AND b.uuid IN (?)' : ''}`,
    [tenantId, ...(isShort ? [boardUuids] : [])],
  );
}

export async function noteHanded(
  manager: EntityManager,
  row: { boardUuid: string; tenantId: string; hash: string; epoch: string | null },
): Promise<void> {
  await manager.query(
    `INSERT INTO board_schedules (board_uuid, tenant_id, handed_hash, handed_epoch)
     VALUES (?, ?, ?, ?)
     ON DUPLICATE KEY UPDATE handed_hash = VALUES(handed_hash), handed_epoch = VALUES(handed_epoch)`,
    [row.boardUuid, row.tenantId, row.hash, row.epoch],
  );
}

/** It holds none any more. */
export async function forgetHanded(manager: EntityManager, boardUuid: string): Promise<void> {
  await manager.query('DELETE FROM board_schedules WHERE board_uuid = ?', [boardUuid]);
}
