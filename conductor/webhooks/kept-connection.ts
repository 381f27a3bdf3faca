/**
 * A connection that is kept from one request to the next, for whoever posts often to one place. It is no
 * way around the look at addresses: that is done for each request, and the connection is used again
 * only while it finds the very addresses that the connection was made to.
 */
import { Agent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import type { Address } from '../../common/webhooks/addresses.ts';

export interface KeptConnection {
  agentFor(url: URL, addresses: readonly Address[]): Agent;
  /** Ends it. Another one is made when there is something to send. */
  close(): void;
}

/** Unused for longer it is closed; many servers do so after a minute or sooner. */
const idleMs = 30_000;

export function createKeptConnection(): KeptConnection {
  let kept: { place: string; agent: Agent } | undefined;

  function close(): void {
    kept?.agent.destroy();
    kept = undefined;
  }

  return {
    agentFor(url, addresses) {
      const place = [url.origin, ...addresses.map(({ address }) => address).sort()].join(' ');
      if (kept?.place !== place) {
        close();
        const settings = { keepAlive: true, maxFreeSockets: 1, timeout: idleMs };
        kept = { place, agent: url.protocol === 'https:' ? new SecureAgent(settings) : new Agent(settings) };
      }
      return kept.agent;
    },
    close,
  };
}
