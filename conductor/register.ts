/** A conductor's own row: that it lives, and where its health port is. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../common/db/database.ts';
import { conductorHeartbeatMs } from '../common/db/queries/conductors.ts';
import { every } from '../common/runtime/every.ts';
import type { Lifecycle } from '../common/runtime/lifecycle.ts';
import type { Logger } from '../common/runtime/logger.ts';

export interface OwnRow {
  id: string;
  /** Of the health port. */
  url: string;
}

/** Resolves when others can see this conductor; it is marked as stopped at the end. */
export async function keepOwnRow(
  own: OwnRow,
  { database, logger, onStop }: { database: Database; logger: Logger; onStop: Lifecycle['onStop'] },
): Promise<void> {
  const write = () =>
    database.read((manager) => writeHeartbeat(manager, own), { deadlineMs: conductorHeartbeatMs });
  await database.read((manager) => writeHeartbeat(manager, own));
  onStop('own row', () => database.read((manager) => markStopped(manager, own.id), { deadlineMs: 1000 }));
  const heartbeat = every({ name: 'heartbeat', intervalMs: conductorHeartbeatMs, logger }, write);
  onStop('heartbeat', () => heartbeat.stop());
}

/** Also brings back a row that was marked or cleared while this process stood still. */
async function writeHeartbeat(manager: EntityManager, own: OwnRow): Promise<void> {
  await manager.query(
    `INSERT INTO conductors (id, url, started_at, heartbeat_at) VALUES (?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))
     ON DUPLICATE KEY UPDATE heartbeat_at = VALUES(heartbeat_at), stopped_at = NULL, stop_reason = NULL`,
    [own.id, own.url],
  );
}

async function markStopped(manager: EntityManager, id: string): Promise<void> {
  await manager.query(
    `UPDATE conductors SET stopped_at = UTC_TIMESTAMP(3), stop_reason = 'stopped' WHERE id = ?`,
    [id],
  );
}
