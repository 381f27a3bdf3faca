/** Durable work on boards: all of its routes. */
import type { WakeClient } from '../../common/wake/wake-client.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf } from '../http/operation.ts';
import { createOperationCreationHandlers } from './create-handlers.ts';
import { createOperationReadHandlers } from './read-handlers.ts';

export type Operations =
  | 'createOperation'
  | 'planOperation'
  | 'listOperations'
  | 'getOperation'
  | 'listOperationTargets';

export function createOperationHandlers(deps: ApiDeps, wake: WakeClient): HandlersOf<Operations> {
  return {
    ...createOperationCreationHandlers(deps, wake),
    ...createOperationReadHandlers(deps),
  };
}
