/**
 * Calls a board through a wamp-agent of its cell. A call is given to the next agent only when the
 * one before never took it: nothing is done twice. It ends within its deadline, whatever the relay
 * does, and ends at the relay too when the caller gives up.
 */
import { Agent, type IncomingMessage } from 'node:http';
import type { LiveAgent } from '../db/queries/wamp-agents.ts';
import { AppError, messageOf } from '../runtime/app-error.ts';
import type { Logger } from '../runtime/logger.ts';
import type { AgentDirectory } from './agent-directory.ts';
import {
  parseRelayFailure,
  parseRelayResult,
  type RelayCall,
  type RelayResult,
  relayPaths,
  withMayHaveRun,
} from './messages.ts';
import { deliver, readLines, readText } from './relay-request.ts';

export interface RelayClient {
  /**
   * The board's answer. Throws AppError: what the board or its relay refused with, `relay-unavailable`,
   * `deadline-exceeded`, or `too-many-calls`. `details.mayHaveRun` tells whether the call can have
   * reached the board; it is left out where a procedure ran and failed. What is not false may have run.
   */
  call(cell: string, call: RelayCall, options?: RelayCallOptions): Promise<RelayResult>;
  /** Calls under way. */
  inFlight(): number;
  close(): void;
}

export interface RelayCallOptions {
  /** The caller went away: the call is cancelled. */
  signal?: AbortSignal;
  /** Takes progressive results, when `call.progress` asks for them; the next is read when it settles. */
  onProgress?: (value: unknown) => void | Promise<void>;
}

export interface RelayClientOptions {
  directory: AgentDirectory;
  key: string;
  logger: Logger;
  /** Calls under way at the most; further ones are refused at once. */
  maxInFlight?: number;
}

/** The relay's own timer ends the call a little before ours, because it can say more about it. */
const relayMarginMs = 50;

interface Attempt {
  cell: string;
  call: RelayCall;
  endsAt: number;
  signal: AbortSignal;
  onProgress: RelayCallOptions['onProgress'];
  /** A relay has the call, and has not given it back: it may have reached the board. */
  isTaken: boolean;
}

export function createRelayClient(options: RelayClientOptions): RelayClient {
  const { directory, logger } = options;
  const maxInFlight = options.maxInFlight ?? 1000;
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 64, scheduling: 'lifo' });
  let inFlight = 0;

  async function attempt(run: Attempt): Promise<RelayResult> {
    let refusal: unknown;
    for (const { id, relayUrl } of await findAgents(run.cell)) {
      run.signal.throwIfAborted();
      const body = requestBody(run);
      const { signal } = run;
      const delivery = await deliver({
        relayUrl,
        path: relayPaths.rpc,
        key: options.key,
        body,
        agent,
        signal,
        onSent: () => {
          run.isTaken = true;
        },
      });
      if (delivery.outcome === 'lost') throw lost(delivery.cause);
      refusal = delivery.outcome === 'not-sent' ? delivery.cause : await readAnswer(delivery.response, run);
      if (isResult(refusal)) return refusal;
      run.isTaken = false;
      directory.reportRefusal(id);
      logger.warn({ agentId: id, reason: messageOf(refusal) }, 'a relay does not take calls');
    }
    throw new AppError('relay-unavailable', "no relay of the board's cell takes calls right now", {
      cause: refusal,
      details: { mayHaveRun: false },
    });
  }

  async function findAgents(cell: string): Promise<LiveAgent[]> {
    try {
      return await directory.agentsOf(cell);
    } catch (error) {
      throw withMayHaveRun(error, false);
    }
  }

  return {
    call(cell, call, { signal, onProgress } = {}) {
      if (inFlight >= maxInFlight) {
        const details = { retryAfterSeconds: 1, mayHaveRun: false };
        return Promise.reject(new AppError('too-many-calls', 'too many calls are under way', { details }));
      }
      inFlight += 1;
      const end = new AbortController();
      const endsAt = performance.now() + call.timeoutMs;
      const run: Attempt = { cell, call, endsAt, signal: end.signal, onProgress, isTaken: false };
      return new Promise<RelayResult>((resolve, reject) => {
        // Rejects first and aborts then: what breaks off by the abort is no news any more.
        const giveUp = (error: AppError) => {
          reject(withMayHaveRun(error, run.isTaken));
          end.abort();
        };
        const timer = setTimeout(() => giveUp(tooLate(call.timeoutMs)), call.timeoutMs);
        const leave = () => giveUp(new AppError('relay-unavailable', 'the caller went away'));
        signal?.addEventListener('abort', leave, { once: true });
        if (signal?.aborted) leave();
        attempt(run)
          .then(resolve, reject)
          .finally(() => {
            inFlight -= 1;
            clearTimeout(timer);
            signal?.removeEventListener('abort', leave);
          });
      });
    },
    inFlight: () => inFlight,
    close: () => agent.destroy(),
  };
}

function requestBody({ call, endsAt }: Attempt): string {
  const leftMs = endsAt - performance.now();
  return JSON.stringify({
    ...call,
    timeoutMs: Math.max(1, Math.floor(leftMs - Math.min(relayMarginMs, leftMs / 10))),
  });
}

/**
 * The result, or the refusal of a relay that gave the call to nobody, so that another may take it
 * (it lives, but its router is away). Throws every other failure.
 */
async function readAnswer(response: IncomingMessage, run: Attempt): Promise<RelayResult | AppError> {
  const isStream = response.headers['content-type']?.startsWith('application/x-ndjson') === true;
  let answer: unknown;
  try {
    if (isStream) answer = await readStream(response, run);
    else answer = JSON.parse(await readText(response));
  } catch (error) {
    throw error instanceof AppError ? error : lost(error);
  }
  if (response.statusCode === 200 && !hasError(answer)) return asResult(answer);
  const failure = parseRelayFailure(hasError(answer) ? answer.error : answer);
  if (failure.code === 'relay-unavailable' && failure.details.mayHaveRun === false) return failure;
  throw failure;
}

/** Hands out the progressive results; gives back the last line. */
async function readStream(response: IncomingMessage, { onProgress }: Attempt): Promise<unknown> {
  for await (const line of readLines(response)) {
    const message = JSON.parse(line) as Record<string, unknown>;
    if (!Object.hasOwn(message, 'progress')) return message;
    await onProgress?.(message.progress);
  }
  throw new Error('the answer ended without a result');
}

function asResult(answer: unknown): RelayResult {
  try {
    return parseRelayResult(answer);
  } catch (error) {
    throw lost(error);
  }
}

function hasError(answer: unknown): answer is { error: unknown } {
  return typeof answer === 'object' && answer !== null && Object.hasOwn(answer, 'error');
}

function isResult(value: unknown): value is RelayResult {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'durationMs');
}

function lost(cause: unknown): AppError {
  return new AppError('relay-unavailable', 'the relay broke off; the call may have reached the board', {
    cause,
    details: { mayHaveRun: true },
  });
}

function tooLate(timeoutMs: number): AppError {
  return new AppError('deadline-exceeded', `no answer within ${timeoutMs} ms`);
}
