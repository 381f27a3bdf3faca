/** The conductors: how they are found, and how a lapse is noticed. */
import type { EntityManager } from 'typeorm';

/** Four missed heartbeats and a process counts as gone; the same for wamp-agents. */
export const conductorHeartbeatMs = 2000;
export const conductorLapseMs = 8000;

export interface LiveConductor {
  id: string;
  url: string;
}

/** Conductors that are alive, by the database's clock. */
export async function findLiveConductors(manager: EntityManager): Promise<LiveConductor[]> {
  return manager.query(
    `SELECT id, url FROM conductors
     WHERE stopped_at IS NULL AND heartbeat_at > UTC_TIMESTAMP(3) - INTERVAL ? SECOND`,
    [conductorLapseMs / 1000],
  );
}
