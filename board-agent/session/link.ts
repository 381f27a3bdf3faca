/**
 * One connection to a router: a WebSocket speaking JSON and autobahn's WAMP session on it. A link
 * lives once: opening → joined → ended. Reconnecting is the business of board-session.ts.
 *
 * autobahn's own connection is left aside: it writes to the console, gives up after 15 tries, and
 * leaves calls pending for ever when the link ends.
 */
import { type Endpoint, Session, Error as WampError } from 'autobahn/lib/session.js';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { asObject, type JsonObject } from '../../common/runtime/guards.ts';
import { errorUri, isWampFault, toAppError } from '../../common/wamp/errors.ts';
import { parseJsonText } from '../../common/wamp/json-text.ts';
import type { Clock } from '../clock.ts';
import { type Refusal, refusalOf } from './refusal.ts';

/** The part of the WHATWG WebSocket that a link needs; tests bring their own. */
export type Socket = Pick<WebSocket, 'send' | 'close' | 'onopen' | 'onmessage' | 'onclose' | 'onerror'>;
export type SocketFactory = (url: string, protocol: string) => Socket;

export type Authentication =
  | { method: 'cryptosign'; authid: string; publicKey: string; sign: (challenge: unknown) => string }
  | { method: 'ticket'; authid: string; ticket: string };

export interface LinkOptions {
  url: string;
  realm: string;
  authentication: Authentication;
  joinTimeoutMs: number;
  clock: Clock;
  createSocket?: SocketFactory;
}

export interface Invocation {
  /** Full URI that was called. */
  uri: string;
  args: unknown[];
  kwargs: JsonObject;
  callerRole?: string;
  callerAuthid?: string;
  /** W3C traceparent of the request that caused this call. */
  trace?: string;
  /** Sends a progressive result; absent when the caller does not want them. */
  progress?: (value: unknown) => void;
}

export interface LinkEnd {
  /** closed: one side said goodbye; lost: the connection broke or was given up. */
  kind: 'closed' | 'lost';
  message: string;
}

export interface Link {
  readonly url: string;
  readonly sessionId: number;
  /** Settles once, when the link is no more. */
  readonly ended: Promise<LinkEnd>;
  /** Calls with kwargs; rejects with an AppError, also when the link ends first. */
  call(uri: string, kwargs: object, timeoutMs: number): Promise<unknown>;
  registerPrefix(prefix: string, handler: (invocation: Invocation) => Promise<unknown>): Promise<void>;
  /** Whether the router itself still answers within the time, whatever is behind it. */
  probe(timeoutMs: number): Promise<boolean>;
  /** Says goodbye and waits for the end, at most a second. */
  leave(): Promise<void>;
  /** Gives the link up at once. */
  drop(message: string): void;
}

export type OpenLink = (options: LinkOptions, signal?: AbortSignal) => Promise<Link | Refusal>;

export function isRefusal(outcome: Link | Refusal): outcome is Refusal {
  return 'kind' in outcome;
}

const subprotocol = 'wamp.2.json';
const leaveTimeoutMs = 1000;
/** As long as a join may take: in a storm of joins a router serves everybody a little at a time. */
const registerTimeoutMs = 90_000;
const messageTypes = { error: 8, unsubscribe: 34, invocation: 68 } as const;
/** An id that the session's own counter never reaches, so that the answer is known to be the probe's. */
const probeRequestId = Number.MAX_SAFE_INTEGER - 1;

const nativeSocket: SocketFactory = (url, protocol) => new WebSocket(url, protocol);

/** Connects and joins. Answers with the link or with why not; never throws for what a network or router does. */
export const openLink: OpenLink = (options, signal) => {
  const { clock, authentication } = options;
  const opened = Promise.withResolvers<Link | Refusal>();
  const ended = Promise.withResolvers<LinkEnd>();
  let state: 'opening' | 'joined' | 'ended' = 'opening';
  let answerProbe: (() => void) | undefined;
  /** Rejects of the requests that wait for the router: autobahn forgets them when the link ends. */
  const waiting = new Set<(reason: AppError) => void>();
  const detailsOfKwargs = new WeakMap<object, JsonObject>();

  let socket: Socket;
  try {
    socket = (options.createSocket ?? nativeSocket)(options.url, subprotocol);
  } catch (error) {
    return Promise.resolve({ kind: 'unreachable', message: messageOf(error) });
  }

  const transport = {
    info: {},
    send: (message: unknown[]) => {
      if (state !== 'ended') socket.send(JSON.stringify(message));
    },
    close: (_code?: number, reason?: string) =>
      end({ kind: 'lost', message: reason ?? 'protocol violation' }),
    onmessage: (_message: unknown[]) => {},
  };
  const session = new Session(transport, defer, onChallenge, ignore, ignore);

  function onChallenge(_session: Session, method: string, extra: { challenge?: unknown }): string {
    if (method !== authentication.method) throw new Error(`the router asks for '${method}'`);
    return authentication.method === 'ticket' ? authentication.ticket : authentication.sign(extra.challenge);
  }

  function end(how: LinkEnd): void {
    refuse({ kind: 'unreachable', message: how.message });
    if (state === 'ended') return;
    state = 'ended';
    ended.resolve(how);
    release();
    for (const reject of waiting)
      reject(new AppError('unavailable', `the link to the router ended: ${how.message}`));
  }

  function refuse(refusal: Refusal): void {
    if (state !== 'opening') return;
    state = 'ended';
    opened.resolve(refusal);
    ended.resolve({ kind: 'lost', message: refusal.message });
    release();
  }

  function release(): void {
    cancelJoinTimer();
    signal?.removeEventListener('abort', onAbort);
    socket.onopen = socket.onmessage = socket.onclose = null;
    // The error event that follows a close of an unopened socket is no news.
    socket.onerror = ignore;
    socket.close();
  }

  const cancelJoinTimer = clock.after(options.joinTimeoutMs, () =>
    refuse({ kind: 'timeout', message: `no welcome within ${options.joinTimeoutMs} ms` }),
  );
  const onAbort = () => refuse({ kind: 'unreachable', message: 'stopped' });
  signal?.addEventListener('abort', onAbort, { once: true });

  socket.onopen = () => {
    session.join(options.realm, [authentication.method], authentication.authid, authextraOf(authentication));
  };
  socket.onerror = (event) => {
    const reason = 'message' in event && typeof event.message === 'string' ? event.message : '';
    refuse({ kind: 'unreachable', message: reason === '' ? 'connection failed' : reason });
  };
  socket.onclose = (event) =>
    end({ kind: 'lost', message: event.reason === '' ? `connection closed (${event.code})` : event.reason });
  socket.onmessage = (event) => {
    try {
      const message = parseJsonText(String(event.data));
      if (!Array.isArray(message)) throw new TypeError('not a WAMP message');
      receive(message);
    } catch (error) {
      end({ kind: 'lost', message: `protocol violation: ${messageOf(error)}` });
    }
  };

  function receive(message: unknown[]): void {
    const [type, second, third] = message;
    if (type === messageTypes.error && second === messageTypes.unsubscribe && third === probeRequestId) {
      answerProbe?.();
      return;
    }
    if (type === messageTypes.invocation) {
      // autobahn hands only some details to the endpoint; the kwargs object leads back to all of them.
      message[4] ??= [];
      message[5] ??= {};
      detailsOfKwargs.set(asObject(message[5], 'kwargs'), asObject(message[3], 'details'));
    }
    transport.onmessage(message);
  }

  session.onjoin = () => {
    if (state !== 'opening' || session.id === null) return;
    state = 'joined';
    cancelJoinTimer();
    opened.resolve(createLink(session.id));
  };
  session.onleave = (reason, details) => {
    const message = typeof details.message === 'string' ? details.message : '';
    refuse(refusalOf(reason, message));
    end({ kind: 'closed', message: message === '' ? reason : message });
  };

  /** A request to the router, ended by its answer, the deadline or the end of the link. */
  async function bounded<T>(timeoutMs: number, request: () => Promise<T>): Promise<T> {
    if (!session.isOpen || state === 'ended') throw new AppError('unavailable', 'not joined');
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const cancel = clock.after(timeoutMs, () =>
      reject(new AppError('deadline-exceeded', `no answer within ${timeoutMs} ms`)),
    );
    waiting.add(reject);
    request().then(resolve, (error: unknown) => reject(toAppError(error)));
    try {
      return await promise;
    } finally {
      cancel();
      waiting.delete(reject);
    }
  }

  function createLink(sessionId: number): Link {
    return {
      url: options.url,
      sessionId,
      ended: ended.promise,
      async call(uri, kwargs, timeoutMs) {
        return bounded(timeoutMs, () => session.call(uri, [], kwargs));
      },
      async registerPrefix(prefix, handler) {
        const options = { match: 'prefix', force_reregister: true };
        const endpoint: Endpoint = async (args, kwargs, details) => {
          const raw = detailsOfKwargs.get(kwargs) ?? {};
          const progress = details.progress;
          try {
            return await handler({
              uri: details.procedure,
              args,
              kwargs: kwargs as JsonObject,
              // The origin of a forwarded call is what its caller wrote.
              ...(details.caller_authrole && !raw.forward_for && { callerRole: details.caller_authrole }),
              ...(details.caller_authid && { callerAuthid: details.caller_authid }),
              ...(isTraceparent(raw.transaction_hash) && { trace: raw.transaction_hash }),
              ...(progress && { progress: (value: unknown) => progress([value]) }),
            });
          } catch (error) {
            throw toWampError(error);
          }
        };
        await bounded(registerTimeoutMs, () => session.register(prefix, endpoint, options));
      },
      probe(timeoutMs) {
        return new Promise((resolve) => {
          const settle = (alive: boolean) => {
            cancel();
            answerProbe = undefined;
            resolve(alive);
          };
          const cancel = clock.after(timeoutMs, () => settle(false));
          answerProbe = () => settle(true);
          void ended.promise.then(() => settle(false));
          // Unsubscribing from nothing is refused by the router itself, without asking an authorizer.
          transport.send([messageTypes.unsubscribe, probeRequestId, 1]);
        });
      },
      async leave() {
        if (state !== 'joined' || !session.isOpen) return;
        const cancel = clock.after(leaveTimeoutMs, () =>
          end({ kind: 'lost', message: 'no goodbye in time' }),
        );
        session.leave('wamp.close.normal');
        await ended.promise;
        cancel();
      },
      drop: (message) => end({ kind: 'lost', message }),
    };
  }

  return opened.promise;
};

function ignore(): void {}

function defer() {
  return { ...Promise.withResolvers<unknown>(), notify: ignore };
}

function authextraOf(authentication: Authentication): object | undefined {
  if (authentication.method === 'ticket') return undefined;
  return { pubkey: authentication.publicKey, channel_binding: null };
}

/** W3C Trace Context, level 1. */
function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(value);
}

function toWampError(error: unknown): unknown {
  if (error instanceof AppError) return new WampError(errorUri(error.code), [error.message], error.details);
  if (isWampFault(error)) return new WampError(error.error, error.args, error.kwargs);
  return new WampError(errorUri('procedure-failed'), [messageOf(error)]);
}
