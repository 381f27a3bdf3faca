/** Takes the agent's places at the router, in an order that keeps boards out until it is ready for them. */
import { type AgentHandlers, registerAll, type WampSession } from '../../common/wamp/typed-session.ts';
import { agentUris, metaUris } from '../../common/wamp/uris.ts';
import type { Entrance } from '../auth/entrance.ts';
import type { Publisher } from '../live/publisher.ts';
import type { Leaves } from '../presence/leaves.ts';

export interface Registered {
  entrance: Pick<Entrance, 'authenticate' | 'authorize' | 'onRefused'>;
  leaves: Pick<Leaves, 'note'>;
  publisher: Pick<Publisher, 'follow'>;
  procedures: AgentHandlers;
}

export async function register(session: WampSession, parts: Registered): Promise<void> {
  const { entrance, leaves, publisher, procedures } = parts;
  // Leaves first: no board can come, and go, before the registrations.
  await session.subscribe(metaUris.onLeave, (args) => leaves.note(Number(args[0])));
  await publisher.follow(session);
  // The agents of a cell divide the calls.
  const shared = { invoke: 'roundrobin' } as const;
  await registerAll(session, procedures, { ...shared, onRefused: entrance.onRefused });
  await session.register(agentUris.authorize, entrance.authorize, shared);
  // Last: from here on boards are let in.
  await session.register(agentUris.authenticate, entrance.authenticate, shared);
}
