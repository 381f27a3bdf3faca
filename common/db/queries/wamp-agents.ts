/** The wamp-agents of a cell: how api and conductor find a relay, and how a lapse is noticed. */
import type { EntityManager } from 'typeorm';

/** An agent writes its heartbeat every 2 s; four missed ones and it counts as gone. */
export const agentHeartbeatMs = 2000;
export const agentLapseMs = 8000;

export interface LiveAgent {
  id: string;
  cell: string;
  relayUrl: string;
}

/** Agents that are alive and joined to their router, by the database's clock. */
export async function findLiveAgents(manager: EntityManager): Promise<LiveAgent[]> {
  return manager.query(
    `SELECT id, cell, relay_url AS relayUrl FROM wamp_agents
     WHERE stopped_at IS NULL AND router_connected = 1 AND heartbeat_at > UTC_TIMESTAMP(3) - INTERVAL ? SECOND`,
    [agentLapseMs / 1000],
  );
}
