/** Which wamp-agents live, by cell. */
import type { LiveAgent } from '../db/queries/wamp-agents.ts';
import { createLiveProcesses } from './live-processes.ts';

export interface AgentDirectory {
  /** Live agents of a cell, the ones to try first in front; empty when there is none. */
  agentsOf(cell: string): Promise<LiveAgent[]>;
  all(): Promise<LiveAgent[]>;
  /** The agent refused: it goes to the end of the list for a while, and the list is read anew. */
  reportRefusal(agentId: string): void;
}

export interface AgentDirectoryOptions {
  findAgents: () => Promise<LiveAgent[]>;
  /** Milliseconds, monotonic. */
  now?: () => number;
}

export function createAgentDirectory({ findAgents, now }: AgentDirectoryOptions): AgentDirectory {
  const agents = createLiveProcesses<LiveAgent>({ find: findAgents, ...(now && { now }) });
  return {
    all: agents.all,
    agentsOf: (cell) => agents.inTurn(cell, (agent) => agent.cell === cell),
    reportRefusal: agents.reportRefusal,
  };
}
