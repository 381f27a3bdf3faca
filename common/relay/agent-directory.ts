/**
 * Which wamp-agents live, by cell: read from the database at most once a second, whoever asks. An
 * agent that refused a connection rests, because its lapse shows in the database only seconds later.
 */
import type { LiveAgent } from '../db/queries/wamp-agents.ts';

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

const freshMs = 1000;
const restMs = 2000;

export function createAgentDirectory(options: AgentDirectoryOptions): AgentDirectory {
  const now = options.now ?? (() => performance.now());
  let agents: LiveAgent[] = [];
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;
  /** By cell; there are few. */
  const turns = new Map<string, number>();
  const restsUntil = new Map<string, number>();

  async function read(): Promise<void> {
    const startedAt = now();
    agents = await options.findAgents();
    readAt = startedAt;
    for (const id of restsUntil.keys()) if (!agents.some((agent) => agent.id === id)) restsUntil.delete(id);
  }

  async function all(): Promise<LiveAgent[]> {
    if (now() - readAt <= freshMs) return agents;
    reading ??= read().finally(() => {
      reading = undefined;
    });
    await reading;
    return agents;
  }

  return {
    all,
    async agentsOf(cell) {
      const here = (await all()).filter((agent) => agent.cell === cell);
      if (here.length < 2) return here;
      // Round and round, so that the agents of a cell divide the load.
      const turn = ((turns.get(cell) ?? -1) + 1) % here.length;
      turns.set(cell, turn);
      const turned = [...here.slice(turn), ...here.slice(0, turn)];
      const rests = (agent: LiveAgent) => Number((restsUntil.get(agent.id) ?? 0) > now());
      return turned.sort((left, right) => rests(left) - rests(right));
    },
    reportRefusal(agentId) {
      restsUntil.set(agentId, now() + restMs);
      readAt = Number.NEGATIVE_INFINITY;
    },
  };
}
