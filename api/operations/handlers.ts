/** Durable work on boards: all of its routes. */
import type { WakeClient } from '../../common/wake/wake-client.ts';
import type { ApiDeps } from '../deps.ts';
import type { ShortMemory } from '../http/short-memory.ts';
import { createOperationChangeHandlers } from './change-handlers.ts';
import { createOperationCreationHandlers } from './create-handlers.ts';
import { createOperationReadHandlers } from './read-handlers.ts';
import { createTimelineHandlers } from './timeline-handler.ts';

export function createOperationHandlers(deps: ApiDeps, wake: WakeClient, memory: ShortMemory) {
  return {
    ...createOperationCreationHandlers(deps, { wake, memory }),
    ...createOperationReadHandlers(deps),
    ...createTimelineHandlers(deps),
    ...createOperationChangeHandlers(deps, wake),
  };
}
