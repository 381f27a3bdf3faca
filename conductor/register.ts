/** A conductor's own row: that it lives, and where its health port is. */
import type { EntityManager } from 'typeorm';

export { conductorHeartbeatMs, conductorLapseMs } from '../common/db/queries/conductors.ts';

/** Also brings back a row that was marked or cleared while this process stood still. */
export async function writeHeartbeat(
  manager: EntityManager,
  own: { id: string; url: string },
): Promise<void> {
  await manager.query(
    `INSERT INTO conductors (id, url, started_at, heartbeat_at) VALUES (?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))
     ON DUPLICATE KEY UPDATE heartbeat_at = VALUES(heartbeat_at), stopped_at = NULL, stop_reason = NULL`,
    [own.id, own.url],
  );
}

export async function markStopped(manager: EntityManager, id: string): Promise<void> {
  await manager.query(
    `UPDATE conductors SET stopped_at = UTC_TIMESTAMP(3), stop_reason = 'stopped' WHERE id = ?`,
    [id],
  );
}
