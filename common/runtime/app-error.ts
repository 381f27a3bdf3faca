/**
 * The one error type that crosses module borders. A code says what went wrong in the words of the
 * contract; the table below and common/wamp/errors.ts are the only places that translate it.
 */

/** Every code that a caller of Boardwalk can meet, with the HTTP status that carries it. */
export const errorStatuses = {
  'invalid-request': 400,
  'invalid-arguments': 422,
  unauthenticated: 401,
  'invalid-credentials': 401,
  forbidden: 403,
  'cross-site-request': 403,
  'quota-exceeded': 403,
  'not-found': 404,
  'board-not-found': 404,
  'tenant-not-found': 404,
  'procedure-not-found': 404,
  'method-not-allowed': 405,
  'not-acceptable': 406,
  conflict: 409,
  'name-taken': 409,
  'board-offline': 409,
  'idempotency-conflict': 409,
  'operation-ended': 409,
  'plan-changed': 409,
  'stale-version': 412,
  'payload-too-large': 413,
  'unsupported-media-type': 415,
  'too-many-requests': 429,
  'too-many-calls': 429,
  internal: 500,
  'procedure-failed': 502,
  'relay-unavailable': 503,
  unavailable: 503,
  'deadline-exceeded': 504,
  // Refusals on the WAMP side: enrolment and sessions.
  'enrolment-code-invalid': 403,
  'enrolment-code-used': 403,
  'enrolment-code-expired': 403,
  'board-revoked': 403,
  'not-authorized': 403,
} as const satisfies Record<string, number>;

export type ErrorCode = keyof typeof errorStatuses;

export interface AppErrorOptions {
  cause?: unknown;
  /** Extra members of the problem document, e.g. `lastSeenAt` or `errors`. Never secrets. */
  details?: Record<string, unknown>;
}

export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.details = options.details ?? {};
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorStatuses, value);
}

/** The HTTP status of a code. */
export function statusOf(code: ErrorCode): number {
  return errorStatuses[code];
}

/** Message of anything thrown, for log lines and reasons. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
