/** Fleets in the database; each function is one step of a transaction. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { fleetCondition } from '../../common/db/queries/fleet-boards.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';
import type { PageRequest } from '../http/paging.ts';
import { insertRow, updateRow } from '../http/versioned-rows.ts';

export interface FleetRow {
  id: string;
  tenant: string;
  name: string;
  description: string | null;
  selector: string | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

const columns = `id, tenant_id AS tenant, name, description, selector, created_by AS createdBy, version,
  created_at AS createdAt, updated_at AS updatedAt`;

/** By name, and by id among the same names of several tenants. */
export async function listFleetRows(
  manager: EntityManager,
  tenants: readonly string[] | 'all',
  page: PageRequest,
): Promise<FleetRow[]> {
  if (tenants.length === 0) return [];
  const [name, id] = page.after ?? [];
  return manager.query(
    `SELECT ${columns} FROM fleets WHERE ${tenants === 'all' ? 'TRUE' : 'tenant_id IN (?)'}
     ${page.after ? 'AND (name > ? OR (name = ? AND id > ?))' : ''} ORDER BY name, id LIMIT ?`,
    [...(tenants === 'all' ? [] : [tenants]), ...(page.after ? [name, name, id] : []), page.limit + 1],
  );
}

export async function readFleet(manager: EntityManager, id: string): Promise<Schemas['Fleet']> {
  const [row] = (await manager.query(`SELECT ${columns} FROM fleets WHERE id = ?`, [id])) as FleetRow[];
  if (!row) throw new AppError('not-found', 'there is no such fleet');
  return toFleet(manager, row);
}

/** With the number of its boards. */
export async function toFleet(manager: EntityManager, row: FleetRow): Promise<Schemas['Fleet']> {
  const { sql, values } = fleetCondition(row);
  const [counted] = (await manager.query(
    row.selector === null
      ? 'SELECT COUNT(*) AS count FROM fleet_boards WHERE fleet_id = ?'
      : `SELECT COUNT(*) AS count FROM boards b WHERE b.tenant_id = ? AND ${sql}`,
    row.selector === null ? [row.id] : [row.tenant, ...values],
  )) as { count: number | string }[];
  return {
    ...row,
    boardCount: Number(counted?.count ?? 0),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

/** Locks the row, as the first locking statement. */
export async function lockFleet(
  manager: EntityManager,
  id: string,
): Promise<{ version: number; selector: string | null }> {
  const [row] = (await manager.query('SELECT version, selector FROM fleets WHERE id = ? FOR UPDATE', [
    id,
  ])) as { version: number; selector: string | null }[];
  if (!row) throw new AppError('not-found', 'there is no such fleet');
  return row;
}

export async function insertFleet(
  manager: EntityManager,
  fleet: {
    tenantId: string;
    name: string;
    description: string | null;
    selector: string | null;
    createdBy: string;
  },
): Promise<string> {
  const id = randomUUID();
  const { tenantId, name, description, selector, createdBy } = fleet;
  const columns = { id, tenant_id: tenantId, name, description, selector, created_by: createdBy };
  await insertRow(manager, 'fleets', columns);
  return id;
}

export async function updateFleetRow(
  manager: EntityManager,
  id: string,
  changes: { name?: string; description?: string | null; selector?: string | null },
): Promise<void> {
  await updateRow(manager, 'fleets', { id }, changes);
}

const boardsPerStatement = 1000;

/** The fleet's named boards are these and no others. */
export async function replaceFleetBoards(
  manager: EntityManager,
  id: string,
  boardUuids: readonly string[],
): Promise<void> {
  await manager.query('DELETE FROM fleet_boards WHERE fleet_id = ?', [id]);
  for (let from = 0; from < boardUuids.length; from += boardsPerStatement) {
    const rows = boardUuids.slice(from, from + boardsPerStatement).map((uuid) => [id, uuid]);
    await manager.query('INSERT INTO fleet_boards (fleet_id, board_uuid) VALUES ?', [rows]);
  }
}

/** Whether that changed anything. */
export async function addFleetBoardRow(
  manager: EntityManager,
  id: string,
  boardUuid: string,
): Promise<boolean> {
  const result = (await manager.query(
    'INSERT IGNORE INTO fleet_boards (fleet_id, board_uuid) VALUES (?, ?)',
    [id, boardUuid],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

/** Whether that changed anything. */
export async function removeFleetBoardRow(
  manager: EntityManager,
  id: string,
  boardUuid: string,
): Promise<boolean> {
  const result = (await manager.query('DELETE FROM fleet_boards WHERE fleet_id = ? AND board_uuid = ?', [
    id,
    boardUuid,
  ])) as { affectedRows: number };
  return result.affectedRows === 1;
}

/** uuid of a board of the tenant, by uuid or name. Throws AppError `board-not-found`. */
export async function getBoardOfTenant(
  manager: EntityManager,
  tenantId: string,
  reference: string,
): Promise<string> {
  const [row] = (await manager.query(
    `SELECT uuid FROM boards WHERE tenant_id = ? AND ${isUuid(reference) ? 'uuid' : 'name'} = ?`,
    [tenantId, reference],
  )) as { uuid: string }[];
  if (!row) throw new AppError('board-not-found', 'there is no such board');
  return row.uuid;
}

/** Name of a schedule whose operations go to the fleet and that has not ended; undefined = none. */
export async function findScheduleOfFleet(
  manager: EntityManager,
  fleet: { id: string; tenantId: string },
): Promise<string | undefined> {
  const [row] = (await manager.query(
    `SELECT name FROM schedules WHERE tenant_id = ? AND state <> 'ended'
     AND JSON_UNQUOTE(JSON_EXTRACT(operation, '$.target.fleet')) = ? LIMIT 1`,
    [fleet.tenantId, fleet.id],
  )) as { name: string }[];
  return row?.name;
}

/** Name of an alarm rule that watches the fleet; undefined = none. */
export async function findAlarmRuleOfFleet(
  manager: EntityManager,
  fleet: { id: string; tenantId: string },
): Promise<string | undefined> {
  const [row] = (await manager.query(
    `SELECT name FROM alarm_rules WHERE tenant_id = ? AND JSON_UNQUOTE(JSON_EXTRACT(target, '$.fleet')) = ? LIMIT 1`,
    [fleet.tenantId, fleet.id],
  )) as { name: string }[];
  return row?.name;
}
