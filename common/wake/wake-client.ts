/**
 * Wakes conductors, so that nobody waits for their next look at the rows. Best effort throughout:
 * nothing here throws, because a conductor finds all of it by itself, only later.
 */
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LiveConductor } from '../db/queries/conductors.ts';
import { createLiveProcesses } from '../relay/live-processes.ts';
import { deliver, readText } from '../relay/relay-request.ts';
import { messageOf } from '../runtime/app-error.ts';
import type { Logger } from '../runtime/logger.ts';
import { parseWaitAnswer, type WakeRequest, wakeLimits, wakePath } from './messages.ts';
import { createWakeBatch, type Wake } from './wake-batch.ts';

export interface WakeClient {
  /**
   * Something is to be done for these: one conductor is told, within milliseconds. With `everybody`
   * all are, because any of them may hold an answer back for an operation that has now ended.
   */
  wake(wake: Wake, options?: { everybody?: boolean }): void;
  /**
   * True when the operation has ended. False when it had not after `timeoutMs`, or nobody could say:
   * the caller reads the row in any case. With `boards`, which it was just made for, it wakes as well.
   */
  waitForEnd(operation: AwaitedOperation, timeoutMs: number, signal?: AbortSignal): Promise<boolean>;
  close(): void;
}

export interface AwaitedOperation {
  id: string;
  boards?: readonly string[];
}

export interface WakeClientOptions {
  findConductors: () => Promise<LiveConductor[]>;
  key: string;
  logger: Logger;
}

/** A wake is answered at once, or its conductor stands still. */
const wakeDeadlineMs = 2000;
/** What a held answer may take beyond its time. */
const holdMarginMs = 1000;
/** Between two questions, when a conductor went away in the middle of one. */
const againMs = 200;

export function createWakeClient({ findConductors, key, logger }: WakeClientOptions): WakeClient {
  const conductors = createLiveProcesses<LiveConductor>({ find: findConductors });
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 16, scheduling: 'lifo' });
  const end = new AbortController();
  const one = createWakeBatch((wake) => quietly(() => askOne(wake, [202], wakeDeadlineMs)));
  const all = createWakeBatch((wake) => quietly(() => tellAll(wake)));

  /** The body of the answer, when its status is one of those expected. */
  async function ask(
    conductor: LiveConductor,
    request: WakeRequest,
    expected: readonly number[],
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<string> {
    const signals = [AbortSignal.timeout(deadlineMs), end.signal, ...(signal ? [signal] : [])];
    const delivery = await deliver({
      relayUrl: conductor.url,
      path: wakePath,
      key,
      body: JSON.stringify(request),
      agent,
      signal: AbortSignal.any(signals),
    });
    if (delivery.outcome !== 'answered') throw delivery.cause;
    const text = await readText(delivery.response);
    const { statusCode = 0 } = delivery.response;
    if (!expected.includes(statusCode)) throw new Error(`refused with ${statusCode}`);
    return text;
  }

  /** The first answer that is one; undefined when none could be had. */
  async function askOne(
    request: WakeRequest,
    expected: readonly number[],
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    for (const conductor of await conductors.inTurn('all')) {
      try {
        return await ask(conductor, request, expected, deadlineMs, signal);
      } catch (error) {
        if (end.signal.aborted || signal?.aborted) return undefined;
        conductors.reportRefusal(conductor.id);
        logger.debug({ conductor: conductor.id, reason: messageOf(error) }, 'a conductor was not woken');
      }
    }
    return undefined;
  }

  async function tellAll(request: WakeRequest): Promise<void> {
    await Promise.all(
      (await conductors.all()).map((each) => quietly(() => ask(each, request, [202], wakeDeadlineMs))),
    );
  }

  async function quietly<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!end.signal.aborted) logger.debug({ reason: messageOf(error) }, 'nobody was woken');
      return undefined;
    }
  }

  async function waitForEnd(
    { id, boards = [] }: AwaitedOperation,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const endsAt = performance.now() + timeoutMs;
    const stop = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
    while (!stop.aborted) {
      const waitMs = Math.min(wakeLimits.waitMs, Math.floor(endsAt - performance.now()));
      if (waitMs <= 0) break;
      const request = { operations: [id], boards: boards.slice(0, wakeLimits.names), waitMs };
      const answer = await quietly(async () => {
        const text = await askOne(request, [200], waitMs + holdMarginMs, stop);
        return text === undefined ? undefined : parseWaitAnswer(JSON.parse(text));
      });
      if (answer?.ended) return true;
      const leftMs = endsAt - performance.now();
      // Rejects only when stopped, which the loop's condition sees.
      if (leftMs > againMs) await sleep(againMs, undefined, { signal: stop }).catch(() => undefined);
      else break;
    }
    return false;
  }

  return {
    wake: (wake, { everybody = false } = {}) => (everybody ? all : one).add(wake),
    waitForEnd,
    close() {
      end.abort();
      one.stop();
      all.stop();
      agent.destroy();
    },
  };
}
