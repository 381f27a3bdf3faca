/**
 * WAMP error URIs and the project's error codes, both ways. Standard `wamp.error.*` where one
 * fits, else `boardwalk.error.<snake_code>`.
 */
import { AppError, type ErrorCode, isErrorCode } from '../runtime/app-error.ts';
import type { JsonObject } from '../runtime/guards.ts';

const standardUris: Partial<Record<ErrorCode, string>> = {
  'invalid-arguments': 'wamp.error.invalid_argument',
  'not-authorized': 'wamp.error.not_authorized',
  'procedure-not-found': 'wamp.error.no_such_procedure',
};

const codesOfStandardUris: Record<string, ErrorCode> = {
  'wamp.error.invalid_argument': 'invalid-arguments',
  'wamp.error.not_authorized': 'not-authorized',
  'wamp.error.authorization_failed': 'not-authorized',
  'wamp.error.no_such_procedure': 'procedure-not-found',
  'wamp.error.no_such_registration': 'procedure-not-found',
  'wamp.error.canceled': 'board-offline',
  'wamp.error.unavailable': 'unavailable',
};

/** Shape of what autobahn throws for an ERROR message. */
export interface WampFault {
  error: string;
  args?: unknown[];
  kwargs?: JsonObject;
}

export function isWampFault(value: unknown): value is WampFault {
  return typeof value === 'object' && value !== null && typeof (value as WampFault).error === 'string';
}

/** URI under which a code travels. */
export function errorUri(code: ErrorCode): string {
  return standardUris[code] ?? `boardwalk.error.${code.replaceAll('-', '_')}`;
}

/** The code of a URI; undefined for one that is neither WAMP's nor ours. */
export function codeOfUri(uri: string): ErrorCode | undefined {
  const standard = codesOfStandardUris[uri];
  if (standard) return standard;
  const own = /^boardwalk\.error\.([a-z_]+)$/.exec(uri)?.[1]?.replaceAll('_', '-');
  return isErrorCode(own) ? own : undefined;
}

/** What a failed call of a Boardwalk procedure means, as an AppError; the fault is kept as cause. */
export function toAppError(fault: unknown): AppError {
  if (fault instanceof AppError) return fault;
  if (!isWampFault(fault)) {
    return new AppError('internal', 'call failed', { cause: fault });
  }
  const code = codeOfUri(fault.error) ?? 'procedure-failed';
  const message = typeof fault.args?.[0] === 'string' ? fault.args[0] : fault.error;
  return new AppError(code, message, { cause: fault, details: { ...fault.kwargs } });
}
