/** The agent's own row, by which api and conductor find its relay, and the row of its cell. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../common/db/database.ts';

export interface AgentRow {
  id: string;
  cell: string;
  relayUrl: string;
}

async function insertAgent(manager: EntityManager, { id, cell, relayUrl }: AgentRow): Promise<void> {
  await manager.query('INSERT IGNORE INTO routers (cell, created_at) VALUES (?, UTC_TIMESTAMP(3))', [cell]);
  await manager.query(
    `INSERT INTO wamp_agents (id, cell, relay_url, router_connected, started_at, heartbeat_at)
     VALUES (?, ?, ?, 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))
     ON DUPLICATE KEY UPDATE relay_url = VALUES(relay_url)`,
    [id, cell, relayUrl],
  );
}

/** False when the row is gone or marked as stopped: a conductor took the agent for dead. */
async function beatAgent(manager: EntityManager, id: string, isServing: boolean): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE wamp_agents SET heartbeat_at = UTC_TIMESTAMP(3), router_connected = ?, stopped_at = NULL, stop_reason = NULL
     WHERE id = ?`,
    [isServing ? 1 : 0, id],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

async function stopAgent(manager: EntityManager, id: string): Promise<void> {
  await manager.query(
    `UPDATE wamp_agents SET stopped_at = UTC_TIMESTAMP(3), stop_reason = 'stopped', router_connected = 0 WHERE id = ?`,
    [id],
  );
}

/** The loss is for the conductor to tell: another agent of the cell may still be joined. */
export async function noteRouter(manager: EntityManager, cell: string): Promise<void> {
  await manager.query('UPDATE routers SET connected_at = UTC_TIMESTAMP(3), lost_at = NULL WHERE cell = ?', [
    cell,
  ]);
}

export interface OwnRow {
  /** Also makes the row again that was cleared while this process stood still. */
  beat(): Promise<void>;
  stop(): Promise<void>;
}

export async function createOwnRow(
  database: Pick<Database, 'read'>,
  row: AgentRow,
  isServing: () => boolean,
): Promise<OwnRow> {
  const insert = () => database.read((manager) => insertAgent(manager, row));
  await insert();
  return {
    async beat() {
      if (!(await database.read((manager) => beatAgent(manager, row.id, isServing())))) await insert();
    },
    stop: () => database.read((manager) => stopAgent(manager, row.id), { deadlineMs: 500 }),
  };
}
