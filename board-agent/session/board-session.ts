/**
 * A board's session with its cell, kept up for ever. No process-wide state: many boards may run
 * in one process.
 *
 *   waiting → joining → greeting (prefix registered, hello sent) → online → waiting …
 *
 * Only hello's answer makes a session count: a router without the server behind it is "not yet".
 */

import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { shuffled } from '../../common/runtime/shuffled.ts';
import {
  type AgentProcedures,
  type BoardSettings,
  type HelloAnswer,
  type HelloRequest,
  parseHelloAnswer,
} from '../../common/wamp/agent-procedures.ts';
import { agentUris, boardPrefix } from '../../common/wamp/uris.ts';
import { type Clock, pause, systemClock } from '../clock.ts';
import { signChallenge } from './cryptosign.ts';
import { type Pulse, runHeartbeat } from './heartbeat.ts';
import {
  type Invocation,
  isRefusal,
  type Link,
  type OpenLink,
  openLink,
  type SocketFactory,
} from './link.ts';
import { type Attempt, createReconnectPolicy } from './reconnect.ts';

export interface BoardPrincipal {
  boardUuid: string;
  realm: string;
  routerUrls: readonly string[];
  publicKey: string;
  /** Ed25519 seed, hex. */
  privateKey: string;
  settings: BoardSettings;
}

export interface BoardSessionOptions {
  principal: BoardPrincipal;
  helloRequest(): HelloRequest | Promise<HelloRequest>;
  onInvocation(invocation: Invocation): Promise<unknown>;
  /** After each answered hello; readings may flow when it has returned. */
  onHello?(answer: HelloAnswer): void;
  onOnline?(): void;
  onOffline?(reason: string): void;
  onPulse?(pulse: Pulse): void;
  onChange?(state: SessionState): void;
  /** Asked after a refusal: an identity that was replaced on disk meanwhile. */
  renewPrincipal?(): BoardPrincipal | undefined;
  spooledReadings?(): number;
  logger: Logger;
  clock?: Clock;
  random?: () => number;
  open?: OpenLink;
  createSocket?: SocketFactory;
}

export interface SessionState {
  phase: 'stopped' | 'waiting' | 'joining' | 'greeting' | 'online';
  since: number;
  url?: string;
  sessionId?: number;
  pulse?: Pulse;
  lastFailure?: { at: number; reason: string };
}

export interface BoardSession {
  start(): void;
  /** Leaves the realm; resolves when nothing of it runs any more. */
  stop(): Promise<void>;
  state(): SessionState;
  settings(): BoardSettings;
  applySettings(settings: Partial<BoardSettings>): void;
  /** Calls the server; rejects with AppError `unavailable` while offline. */
  call<K extends keyof typeof serverProcedures>(
    name: K,
    kwargs: AgentProcedures[K]['kwargs'],
    timeoutMs: number,
  ): Promise<unknown>;
  /** Says hello again, e.g. because what it announces has changed; nothing happens while offline. */
  greetAgain(): void;
}

const serverProcedures = {
  hello: agentUris.hello,
  heartbeat: agentUris.heartbeat,
  appendReadings: agentUris.appendReadings,
  operationResult: agentUris.operationResult,
  operationProgress: agentUris.operationProgress,
  putArtifact: agentUris.putArtifact,
  reportModules: agentUris.reportModules,
} as const;

/** A router serves a storm of joins a little at a time, and who gives up loses the place. */
const joinTimeoutMs = 90_000;
const helloTimeoutMs = 60_000;
const helloBackoff = { baseMs: 500, capMs: 15_000 };

export function createBoardSession(options: BoardSessionOptions): BoardSession {
  const { logger, clock = systemClock, random = Math.random, open = openLink } = options;
  const policy = createReconnectPolicy(random);
  const abort = new AbortController();
  let principal = options.principal;
  let settings = principal.settings;
  let urls = shuffled(principal.routerUrls, random);
  let urlIndex = 0;
  let link: Link | undefined;
  let greeting: Promise<void> | undefined;
  /** Something that hello announces has changed since the last one was composed. */
  let helloStale = false;
  let running: Promise<void> | undefined;
  let state: SessionState = { phase: 'stopped', since: clock.now() };

  function enter(phase: SessionState['phase'], more: Partial<SessionState> = {}): void {
    const { lastFailure } = state;
    state = { phase, since: clock.now(), ...(lastFailure && { lastFailure }), ...more };
    options.onChange?.(state);
  }

  async function keepUp(): Promise<void> {
    while (!abort.signal.aborted) {
      const attempt = await runOnce();
      if (abort.signal.aborted) return;
      const delayMs = policy.delayAfter(attempt, settings.reconnectSpreadMs);
      enter('waiting', { lastFailure: { at: clock.now(), reason: attempt.reason } });
      const log = { reason: attempt.reason, outcome: attempt.outcome, retryInMs: delayMs };
      if (attempt.outcome === 'refused') logger.error(log, 'the server refuses this board, will keep asking');
      else logger.warn(log, 'not connected, will try again');
      urlIndex = (urlIndex + 1) % urls.length;
      await pause(clock, delayMs, abort.signal);
    }
  }

  async function runOnce(): Promise<Attempt & { reason: string }> {
    const url = urls[urlIndex] ?? '';
    enter('joining', { url });
    const outcome = await open(linkOptions(url), abort.signal);
    if (isRefusal(outcome)) {
      if (outcome.kind !== 'refused') return { outcome: 'failed', reason: `${url}: ${outcome.message}` };
      return { outcome: renew() ? 'failed' : 'refused', reason: outcome.message };
    }
    link = outcome;
    let onlineSinceMs: number | undefined;
    const linkAbort = new AbortController();
    void link.ended.then(() => linkAbort.abort());
    try {
      enter('greeting', { url, sessionId: link.sessionId });
      await link.registerPrefix(boardPrefix(principal.boardUuid), options.onInvocation);
      await greet(link, linkAbort.signal);
      if (linkAbort.signal.aborted) throw new AppError('unavailable', (await link.ended).message);
      onlineSinceMs = clock.monotonicMs();
      enter('online', { url, sessionId: link.sessionId });
      logger.info({ url, sessionId: link.sessionId }, 'online');
      options.onOnline?.();
      if (helloStale) greetAgain();
      await runHeartbeat(heartbeatOptions(link), linkAbort.signal);
      const how = await link.ended;
      const livedMs = clock.monotonicMs() - onlineSinceMs;
      return { outcome: 'established', livedMs, reason: `session ended: ${how.message}` };
    } catch (error) {
      return failedAttempt(error);
    } finally {
      const left = link;
      link = undefined;
      left.drop('given up');
      if (onlineSinceMs !== undefined) options.onOffline?.((await left.ended).message);
    }
  }

  function failedAttempt(error: unknown): Attempt & { reason: string } {
    const retryAfterMs = error instanceof AppError ? error.details.retryAfterMs : undefined;
    return {
      outcome: 'failed',
      reason: messageOf(error),
      ...(typeof retryAfterMs === 'number' && retryAfterMs > 0 && { retryAfterMs }),
    };
  }

  /** Says hello until it is answered or the link has ended: the place at the router is kept meanwhile. */
  async function greet(on: Link, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        helloStale = false;
        const request = await options.helloRequest();
        const answer = parseHelloAnswer(await on.call(agentUris.hello, request, helloTimeoutMs));
        adopt(answer);
        options.onHello?.(answer);
        return;
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ reason: messageOf(error), attempt }, 'hello was not answered, will say it again');
        await pause(clock, backoffDelayMs(attempt, { ...helloBackoff, random }), signal);
      }
    }
  }

  function adopt(answer: HelloAnswer): void {
    settings = answer.settings;
    const known = new Set(urls);
    if (answer.routerUrls.length === known.size && answer.routerUrls.every((url) => known.has(url))) return;
    urls = shuffled(answer.routerUrls, random);
    urlIndex = 0;
  }

  /** True when another identity has been stored meanwhile, which is worth an attempt at once. */
  function renew(): boolean {
    const renewed = options.renewPrincipal?.();
    if (!renewed || renewed.publicKey === principal.publicKey) return false;
    if (renewed.boardUuid !== principal.boardUuid) {
      logger.error({ boardUuid: renewed.boardUuid }, 'enrolled as another board: restart the agent');
      return false;
    }
    principal = renewed;
    urls = shuffled(renewed.routerUrls, random);
    urlIndex = 0;
    return true;
  }

  function linkOptions(url: string) {
    const { privateKey, publicKey, boardUuid, realm } = principal;
    return {
      url,
      realm,
      joinTimeoutMs,
      clock,
      authentication: {
        method: 'cryptosign' as const,
        authid: boardUuid,
        publicKey,
        sign: (challenge: unknown) => signChallenge(privateKey, challenge),
      },
      ...(options.createSocket && { createSocket: options.createSocket }),
    };
  }

  function heartbeatOptions(on: Link) {
    return {
      link: on,
      clock,
      logger,
      intervalMs: () => settings.heartbeatIntervalMs,
      spooledReadings: () => options.spooledReadings?.(),
      onPulse: (pulse: Pulse) => {
        state = { ...state, pulse };
        options.onPulse?.(pulse);
      },
      onHelloNeeded: greetAgain,
    };
  }

  function greetAgain(): void {
    const on = link;
    helloStale = true;
    if (!on || state.phase !== 'online' || greeting) return;
    const linkAbort = new AbortController();
    void on.ended.then(() => linkAbort.abort());
    greeting = greet(on, linkAbort.signal).finally(() => {
      greeting = undefined;
      // Not for a link that has ended: the next one says hello anyway.
      if (helloStale && !linkAbort.signal.aborted) greetAgain();
    });
  }

  return {
    start() {
      running ??= keepUp();
    },
    async stop() {
      abort.abort();
      await link?.leave();
      await running;
      enter('stopped');
    },
    state: () => state,
    settings: () => settings,
    applySettings(changed) {
      settings = { ...settings, ...changed };
    },
    async call(name, kwargs, timeoutMs) {
      if (!link || state.phase !== 'online') throw new AppError('unavailable', 'offline');
      return link.call(serverProcedures[name], kwargs, timeoutMs);
    },
    greetAgain,
  };
}
