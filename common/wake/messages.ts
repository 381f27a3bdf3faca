/**
 * What api and wamp-agent say to a conductor: `POST /wake` on its health port, with the relay's key.
 * A wake carries no work, only where to look: all of it is in rows, and a lost wake costs time only.
 */

import { AppError } from '../runtime/app-error.ts';
import { asArray, asInteger, asObject, isUuid, optional } from '../runtime/guards.ts';

export const wakePath = '/wake';

export const wakeLimits = { names: 1000, waitMs: 120_000 } as const;

/** Body of POST /wake. */
export interface WakeRequest {
  /** Operations that were made, or that changed: whoever waits for one looks at it again. */
  operations?: string[];
  /** Boards that have something to do. */
  boards?: string[];
  /** Consumers of readings whose outbox has got something. */
  consumers?: string[];
  /**
   * Hold the answer until all of `operations` have ended, at most so long: 200 `{ended}`. Without it
   * the answer is 202 at once. Together with `boards`: the operations were made just now.
   */
  waitMs?: number;
}

export interface WaitAnswer {
  ended: boolean;
}

function asUuids(value: unknown, field: string): string[] {
  return asArray(value, field, { max: wakeLimits.names }).map((each, index) => {
    if (isUuid(each)) return each;
    throw new AppError('invalid-arguments', `${field}[${index}] must be a uuid`);
  });
}

export function parseWakeRequest(value: unknown): WakeRequest {
  const input = asObject(value, 'body');
  const operations = optional(input.operations, (v) => asUuids(v, 'operations'));
  const boards = optional(input.boards, (v) => asUuids(v, 'boards'));
  const consumers = optional(input.consumers, (v) => asUuids(v, 'consumers'));
  const waitMs = optional(input.waitMs, (v) => asInteger(v, 'waitMs', { min: 0, max: wakeLimits.waitMs }));
  return {
    ...(operations && { operations }),
    ...(boards && { boards }),
    ...(consumers && { consumers }),
    ...(waitMs !== undefined && { waitMs }),
  };
}

export function parseWaitAnswer(value: unknown): WaitAnswer {
  return { ended: asObject(value, 'answer').ended === true };
}
