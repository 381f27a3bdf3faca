/** What a database error allows: see database.ts. */
export type FaultKind =
  /** The server undid the transaction: run it again from the start. */
  | 'rollback'
  /** The connection or the node is unusable: go elsewhere or come back later. */
  | 'connection'
  | 'final';

/** Lock wait, deadlock, and 1020: a row changed since the transaction's first read (MariaDB 11.6 and later). */
const rollbackErrnos = new Set([1020, 1205, 1213]);
/**
 * 1021/1114 disk or table space full, 1040 too many connections, 1047 node not ready (Galera), 1053
 * server shutdown, 1927 killed, 2006/2013 server gone. Access errors (1044, 1045) are final.
 */
const connectionErrnos = new Set([
  1021, 1040, 1047, 1053, 1114, 1152, 1158, 1159, 1160, 1161, 1290, 1927, 2006, 2013,
]);
const connectionCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
]);

export function faultKind(error: unknown): FaultKind {
  if (typeof error !== 'object' || error === null) return 'final';
  const { errno, code, message } = error as { errno?: number; code?: string; message?: string };
  if (errno !== undefined && rollbackErrnos.has(errno)) return 'rollback';
  if (errno !== undefined && connectionErrnos.has(errno)) return 'connection';
  if (code !== undefined && connectionCodes.has(code)) return 'connection';
  // Errors with a number quote what was sent.
  if (
    errno === undefined &&
    message !== undefined &&
    /closed state|Connection lost|Pool is closed/.test(message)
  )
    return 'connection';
  return 'final';
}

/** MySQL 1062; `constraint` is the name of the violated key when the message has it. */
export function isDuplicate(error: unknown, constraint?: string): boolean {
  const { errno, message } = (error ?? {}) as { errno?: number; message?: string };
  return errno === 1062 && (constraint === undefined || (message ?? '').includes(constraint));
}

/** MySQL 1451 and 1452: what a row refers to went away, or something began to refer to it, meanwhile. */
export function isBrokenReference(error: unknown): boolean {
  const { errno } = (error ?? {}) as { errno?: number };
  return errno === 1451 || errno === 1452;
}
