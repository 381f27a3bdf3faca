/**
 * Modules, for whoever decides about them: wamp-agents when boards report, the api when people do.
 * Lock order: the board's row, then its modules. `boards.modules_version` is a new random value after
 * every change of a decision, so that a restored database never gives a version for the second time.
 */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { ModuleState, UnknownDevicePolicy } from '../../wamp/modules.ts';
import type { ModuleOrigin } from '../entities/modules.ts';
import type { NewEvent } from './events.ts';

/** Before anything was decided. */
const firstModulesVersion = '0';

export interface ModulePolicy {
  tenantId: string;
  unknownDevices: UnknownDevicePolicy;
  createPerMinute: number;
  /** Of the decisions for this board. */
  version: string;
  /** How many sources of the board are known. */
  sourceCount: number;
}

/** undefined = there is no such board. */
export async function findModulePolicy(
  manager: EntityManager,
  boardUuid: string,
): Promise<ModulePolicy | undefined> {
  const [row] = (await manager.query(
    `SELECT b.tenant_id AS tenantId, t.unknown_devices AS unknownDevices,
            t.devices_per_minute AS createPerMinute, COALESCE(b.modules_version, ?) AS version,
            (SELECT COUNT(*) FROM board_sources s WHERE s.board_uuid = b.uuid) AS sourceCount
     FROM boards b JOIN tenants t ON t.id = b.tenant_id WHERE b.uuid = ?`,
    [firstModulesVersion, boardUuid],
  )) as (ModulePolicy & { sourceCount: number | string })[];
  return row && { ...row, sourceCount: Number(row.sourceCount) };
}

/** Those that decide about modules of one board wait for each other here; false = no such board. */
export async function lockBoardOfModules(manager: EntityManager, boardUuid: string): Promise<boolean> {
  const rows = (await manager.query('SELECT uuid FROM boards WHERE uuid = ? FOR UPDATE', [
    boardUuid,
  ])) as unknown[];
  return rows.length > 0;
}

/** The board will be given all decisions with its next report. */
export async function renewModulesVersion(manager: EntityManager, boardUuid: string): Promise<void> {
  await manager.query('UPDATE boards SET modules_version = ? WHERE uuid = ?', [randomUUID(), boardUuid]);
}

/** In quarantine by policy: nobody has decided about it, nor expected it. */
export const isStranger = "(origin = 'discovered' AND state = 'quarantined' AND decided_by IS NULL)";

export interface DeviceCounts {
  /** Discovered and created modules. */
  devices: number;
  /** Those of them that are strangers. */
  strangers: number;
}

export async function countDevices(manager: EntityManager, boardUuid: string): Promise<DeviceCounts> {
  const [row] = (await manager.query(
    `SELECT COUNT(*) AS devices, COALESCE(SUM(${isStranger}), 0) AS strangers
     FROM modules WHERE board_uuid = ? AND origin <> 'declared'`,
    [boardUuid],
  )) as { devices: number | string; strangers: number | string }[];
  return { devices: Number(row?.devices ?? 0), strangers: Number(row?.strangers ?? 0) };
}

export type ModuleChange = 'discovered' | 'created' | 'forgotten' | ModuleState;

export interface ModuleNews {
  boardUuid: string;
  tenantId: string;
  module: string;
  /** After the change; of one that is forgotten, before it. */
  state: ModuleState;
  origin: ModuleOrigin;
  change: ModuleChange;
}

/** An event of type `module`. */
export function moduleEvent(news: ModuleNews): NewEvent {
  const { boardUuid, tenantId, module, state, origin, change } = news;
  return {
    tenantId,
    boardUuid,
    type: 'module',
    payload: { board: boardUuid, module, state, origin, change, at: new Date().toISOString() },
  };
}
