/**
 * What api and conductor say to a wamp-agent over the internal relay, and what it answers. The relay
 * is HTTP so that a call crosses the router once. Both ends import these shapes.
 */
import { AppError, type ErrorCode, isErrorCode } from '../runtime/app-error.ts';
import { asNumber, asObject, asString, type JsonObject } from '../runtime/guards.ts';
import type { ReadingType, ReadingValue } from '../wamp/readings.ts';

export const relayPaths = { rpc: '/relay/rpc', live: '/relay/live' } as const;

export interface RelayCaller {
  kind: 'user' | 'key' | 'process';
  /** User id, key id or process name. */
  id: string;
}

/** Body of POST /relay/rpc. */
export interface RelayCall {
  boardUuid: string;
  /** Row id of the board's live session, as the caller read it. */
  sessionId: string;
  procedure: string;
  args?: unknown[];
  kwargs?: JsonObject;
  timeoutMs: number;
  /** boards.contracts_hash: the agent's cache of contracts is keyed by it. */
  contractsHash: string | null;
  /** W3C traceparent. */
  requestId: string;
  caller: RelayCaller;
  /** Wants progressive results: the answer is NDJSON. */
  progress?: boolean;
}

export interface RelayResult {
  result: unknown;
  durationMs: number;
}

/** Body of POST /relay/live; null = no restriction. */
export interface RelayInterest {
  /** Only these boards, which are *watched*: their batch interval shrinks while the request is open. */
  boards: string[] | null;
  tenants: string[] | null;
}

export interface LiveReading {
  stream: string;
  type: ReadingType;
  unit: string;
  /** Epoch milliseconds. */
  at: number;
  value: ReadingValue;
}

/** A line of /relay/live; lines of unknown type are skipped. */
export interface LiveReadings {
  type: 'readings';
  tenantId: string;
  boardUuid: string;
  readings: LiveReading[];
}

/** Failures of a call that are its caller's to see; anything else a relay says is a fault of ours. */
const callFailures: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'procedure-not-found',
  'board-not-found',
  'board-offline',
  'invalid-arguments',
  'procedure-failed',
  'deadline-exceeded',
  'relay-unavailable',
  'too-many-calls',
  'unavailable',
  'payload-too-large',
]);

export function parseRelayResult(value: unknown): RelayResult {
  const input = asObject(value, 'answer');
  return { result: input.result ?? null, durationMs: asNumber(input.durationMs, 'durationMs') };
}

/**
 * The failure with the word whether its call may have reached the board, `details.mayHaveRun`: what
 * may be asked for again hangs on it. Whatever is no AppError stays as it is.
 */
export function withMayHaveRun<T>(error: T, mayHaveRun: boolean): T | AppError {
  if (!(error instanceof AppError)) return error;
  const { code, message, details } = error;
  return new AppError(code, message, { cause: error, details: { ...details, mayHaveRun } });
}

/**
 * The failure in a relay's answer with its details; one that makes no sense becomes
 * `relay-unavailable`. Only a relay that did not take our key is known to have done nothing then.
 */
export function parseRelayFailure(value: unknown): AppError {
  try {
    const input = asObject(value, 'failure');
    const message = asString(input.message, 'message', { min: 0, max: 10_000, multiline: true });
    const details = input.details === undefined ? {} : asObject(input.details, 'details');
    if (isErrorCode(input.code) && callFailures.has(input.code))
      return new AppError(input.code, message, { details });
    return new AppError(
      'relay-unavailable',
      `the relay refused the call (${String(input.code).slice(0, 60)})`,
      { details: { mayHaveRun: input.code !== 'unauthenticated' } },
    );
  } catch (error) {
    return new AppError('relay-unavailable', 'the relay gave an answer that makes no sense', {
      cause: error,
      details: { mayHaveRun: true },
    });
  }
}

/** undefined for lines that are not readings. */
export function parseLiveLine(line: string): LiveReadings | undefined {
  const input = JSON.parse(line) as Partial<LiveReadings> | null;
  const isReadings =
    input?.type === 'readings' &&
    typeof input.tenantId === 'string' &&
    typeof input.boardUuid === 'string' &&
    Array.isArray(input.readings);
  return isReadings ? (input as LiveReadings) : undefined;
}
