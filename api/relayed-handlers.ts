/** The operations that reach boards through the relays of the wamp-agents: calls, and what boards tell. */
import type { AgentDirectory } from '../common/relay/agent-directory.ts';
import type { ApiDeps } from './deps.ts';
import { createEvents } from './events/stream-events.ts';
import { createAuthentication } from './http/authentication.ts';
import type { HandlersOf } from './http/operation.ts';
import type { ShortMemory } from './http/short-memory.ts';
import { createRpc } from './rpc/rpc.ts';

export function createRelayedHandlers(
  deps: ApiDeps,
  { directory, memory }: { directory: AgentDirectory; memory: ShortMemory },
): HandlersOf<'callProcedure' | 'streamEvents'> {
  const { database, logger, metrics, stopping } = deps;
  const { relayKey } = deps.config;
  const rpc = createRpc({ database, directory, memory, relayKey, metrics, logger });
  deps.onStop('calls', rpc.stop);
  const events = createEvents({
    database,
    directory,
    relayKey,
    logger,
    stopping,
    metrics,
    authenticate: createAuthentication(database).authenticate,
  });
  deps.onStop('events', events.stop);
  return { ...rpc.handlers, ...events.handlers };
}
