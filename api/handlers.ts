/** All operations of the contract with their handlers: each resource folder brings its part. */
import { findLiveConductors } from '../common/db/queries/conductors.ts';
import { findLiveAgents } from '../common/db/queries/wamp-agents.ts';
import { createAgentDirectory } from '../common/relay/agent-directory.ts';
import { createWakeClient } from '../common/wake/wake-client.ts';
import { createAlarmRuleHandlers } from './alarm-rules/handlers.ts';
import { createAlarmHandlers } from './alarms/handlers.ts';
import { createArtifactHandlers } from './artifacts/handlers.ts';
import { createAuditHandlers } from './audit/handlers.ts';
import { createAuthHandlers } from './auth/handlers.ts';
import { createBoardSessions } from './boards/board-sessions.ts';
import { createBoardHandlers } from './boards/handlers.ts';
import { createBoardListHandlers } from './boards/list-handlers.ts';
import type { ApiDeps } from './deps.ts';
import { createFleetHandlers } from './fleets/handlers.ts';
import { createFlowHandlers } from './flow/handlers.ts';
import type { Handlers } from './http/operation.ts';
import type { ShortMemory } from './http/short-memory.ts';
import { createBoardAsks } from './modules/board-asks.ts';
import { createModuleHandlers } from './modules/handlers.ts';
import { createOperationHandlers } from './operations/handlers.ts';
import { createQuotaHandlers } from './quotas/handlers.ts';
import { createReadingsHandlers } from './readings/handlers.ts';
import { createRelayedHandlers } from './relayed-handlers.ts';
import { createScheduleHandlers } from './schedules/handlers.ts';
import { createServiceHandlers } from './service/handlers.ts';
import { createSinkHandlers } from './sinks/handlers.ts';
import { createApiKeyHandlers } from './tenants/api-key-handlers.ts';
import { createTenantHandlers } from './tenants/handlers.ts';
import { createMemberHandlers } from './tenants/member-handlers.ts';
import { createUserHandlers } from './users/handlers.ts';
import { createWebhookHandlers } from './webhooks/handlers.ts';

export function createHandlers(deps: ApiDeps, memory: ShortMemory): Handlers {
  const { database, config, logger } = deps;
  const directory = createAgentDirectory({ findAgents: () => database.read(findLiveAgents) });
  const boardSessions = createBoardSessions({ directory, relayKey: config.relayKey, logger });
  deps.onStop('board sessions', boardSessions.stop);
  const asks = createBoardAsks({ database, directory, relayKey: config.relayKey, logger });
  deps.onStop('asking boards', asks.stop);
  const wake = createWakeClient({
    findConductors: () => database.read(findLiveConductors),
    key: config.relayKey,
    logger,
  });
  deps.onStop('wakes', wake.close);
  return {
    ...createServiceHandlers(deps),
    ...createAuthHandlers(deps),
    ...createUserHandlers(deps),
    ...createTenantHandlers(deps, asks),
    ...createMemberHandlers(deps),
    ...createApiKeyHandlers(deps),
    ...createQuotaHandlers(deps),
    ...createWebhookHandlers(deps),
    ...createAuditHandlers(deps),
    ...createBoardHandlers(deps, boardSessions),
    ...createBoardListHandlers(deps),
    ...createModuleHandlers(deps, asks),
    ...createFleetHandlers(deps),
    ...createFlowHandlers(deps),
    ...createScheduleHandlers(deps),
    ...createAlarmRuleHandlers(deps),
    ...createAlarmHandlers(deps),
    ...createSinkHandlers(deps, wake),
    ...createOperationHandlers(deps, wake, memory),
    ...createArtifactHandlers(deps),
    ...createReadingsHandlers(deps),
    ...createRelayedHandlers(deps, { directory, memory }),
  };
}
