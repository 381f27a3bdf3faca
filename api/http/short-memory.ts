/**
 * What the hot paths (calls of procedures, operations) may remember for half a second: a service that calls often
 * would ask the database the same two questions each time, and they are most of what its calls cost.
 *
 * The price: what another process changes (a revoked key, a deleted board) counts here up to half a
 * second later. What this process changes counts at once: nothing is remembered while a change is
 * under way, and all is forgotten at its start.
 */
import type { Request, Response } from 'express';
import { hashToken } from '../../common/runtime/secrets.ts';
import type { Principal } from '../auth/principal.ts';
import type { OperationId } from './operation.ts';

export interface ShortMemory {
  /** `read`'s answer, or the one of a moment ago. Only what `isKept` says is remembered. */
  recall<T>(key: string, read: () => Promise<T>, isKept: (value: T) => boolean): Promise<T>;
  /** A change begins; call the answer when it is over. */
  beginChange(): () => void;
}

const freshMs = 500;
/** Beyond what one process is asked in that time. */
const maxEntries = 10_000;

export function createShortMemory(now: () => number = () => performance.now()): ShortMemory {
  const entries = new Map<string, { readAt: number; value: unknown }>();
  let changes = 0;
  /** Rises with each change, so that what was read before it is not remembered after it. */
  let era = 0;
  return {
    async recall<T>(key: string, read: () => Promise<T>, isKept: (value: T) => boolean): Promise<T> {
      const known = entries.get(key);
      if (known !== undefined && now() - known.readAt <= freshMs) return known.value as T;
      const readAt = now();
      const readIn = era;
      const value = await read();
      if (changes === 0 && readIn === era && isKept(value)) {
        if (entries.size >= maxEntries) entries.clear();
        entries.set(key, { readAt, value });
      }
      return value;
    },
    beginChange() {
      changes += 1;
      era += 1;
      entries.clear();
      let over = false;
      return () => {
        if (!over) changes -= 1;
        over = true;
      };
    },
  };
}

/** What services do all the time: a credential that ended a moment ago may still do it once more. */
const frequent: ReadonlySet<OperationId> = new Set<OperationId>(['callProcedure', 'createOperation']);

type Authenticate = (request: Request) => Promise<Principal>;

/** Authentication that remembers who calls procedures and makes operations, and notes what changes. */
export function rememberCallers(
  memory: ShortMemory,
  authenticate: Authenticate,
): (request: Request, operationId: OperationId) => Promise<Principal> {
  return (request, operationId) => {
    if (frequent.has(operationId)) {
      const { authorization } = request.headers;
      if (authorization === undefined) return authenticate(request);
      return memory.recall(`caller ${hashToken(authorization)}`, () => authenticate(request), isUsable);
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      // Also emitted when the client left half way; the change is then over at the latest in the next query.
      (request.res as Response).once('close', memory.beginChange());
    }
    return authenticate(request);
  };
}

/** One that is about to expire is asked for each time. */
function isUsable({ expiresAt }: Principal): boolean {
  return expiresAt === null || expiresAt.getTime() > Date.now() + 2 * freshMs;
}
