/**
 * A WAMP client made by hand, which may do what no well-behaved client does: join with any key, say
 * hello twice, register anything, ignore a goodbye.
 */
import { signChallenge } from '../../../board-agent/session/cryptosign.ts';
import type { JsonObject } from '../../../common/runtime/guards.ts';

export interface WampError extends Error {
  uri: string;
  kwargs: JsonObject;
}

export interface RawCall {
  args: unknown[];
  kwargs: JsonObject;
  details: JsonObject;
  progress(value: unknown): void;
}

export interface RawSession {
  readonly id: number;
  readonly authid: string;
  readonly ended: Promise<string>;
  call(uri: string, kwargs?: unknown, args?: unknown[]): Promise<unknown>;
  /** The same with kwargs as JSON text, for what no encoder would write. */
  callText(uri: string, kwargs: string, options?: JsonObject): Promise<unknown>;
  register(
    uri: string,
    options: JsonObject,
    handler?: (call: RawCall) => Promise<unknown> | unknown,
  ): Promise<void>;
  subscribe(topic: string, options?: JsonObject, handler?: (kwargs: JsonObject) => void): Promise<void>;
  publish(topic: string): Promise<void>;
  /** Cuts the connection without a word. */
  cut(): void;
  leave(): Promise<void>;
}

export interface JoinOptions {
  url: string;
  realm?: string;
  authid?: string;
  method: 'cryptosign' | 'ticket' | 'anonymous';
  ticket?: string;
  publicKey?: string;
  privateKey?: string;
  ignoreGoodbye?: boolean;
}

const roles = {
  caller: { features: { progressive_call_results: true } },
  callee: { features: { progressive_call_results: true } },
  publisher: {},
  subscriber: {},
};

function fault(uri: string, args: unknown, kwargs: unknown): WampError {
  const message = Array.isArray(args) && typeof args[0] === 'string' ? args[0] : uri;
  return Object.assign(new Error(`${uri}: ${message}`), { uri, kwargs: (kwargs ?? {}) as JsonObject });
}

/** An answer as JSON text, for what no encoder would write. */
interface AnswerText {
  [answerText]: true;
  text: string;
}
const answerText = Symbol('answerText');

export function answerOf(text: string): AnswerText {
  return { [answerText]: true, text };
}

function isText(value: unknown): value is AnswerText {
  return typeof value === 'object' && value !== null && answerText in value;
}

/** Rejects with a WampError whose uri is the router's reason. */
export function join(options: JoinOptions): Promise<RawSession> {
  const socket = new WebSocket(options.url, 'wamp.2.json');
  const opened = Promise.withResolvers<RawSession>();
  const ended = Promise.withResolvers<string>();
  const requests = new Map<number, PromiseWithResolvers<unknown>>();
  const handlers = new Map<number, (call: RawCall) => Promise<unknown> | unknown>();
  const listeners = new Map<number, (kwargs: JsonObject) => void>();
  let nextRequest = 0;

  const send = (message: unknown[]) => socket.send(JSON.stringify(message));
  const request = (make: (id: number) => unknown[]) => requestText((id) => JSON.stringify(make(id)));
  function requestText(make: (id: number) => string): Promise<unknown> {
    if (socket.readyState !== WebSocket.OPEN) return Promise.reject(fault('test.lost', ['closed'], {}));
    nextRequest += 1;
    const waiting = Promise.withResolvers<unknown>();
    requests.set(nextRequest, waiting);
    socket.send(make(nextRequest));
    return waiting.promise;
  }
  function settle(id: unknown): PromiseWithResolvers<unknown> | undefined {
    const waiting = requests.get(Number(id));
    requests.delete(Number(id));
    return waiting;
  }

  async function invoke(message: unknown[]): Promise<void> {
    const [, id, registration, details, args, kwargs] = message;
    try {
      const result = await handlers.get(Number(registration))?.({
        args: (args ?? []) as unknown[],
        kwargs: (kwargs ?? {}) as JsonObject,
        details: details as JsonObject,
        progress: (value) => send([70, id, { progress: true }, [value]]),
      });
      if (isText(result)) socket.send(`[70,${id},{},[${result.text}]]`);
      else send([70, id, {}, [result ?? null]]);
    } catch (error) {
      const { uri = 'wamp.error.runtime_error', kwargs = {} } = error as Partial<WampError>;
      send([8, 68, id, {}, uri, [(error as Error).message], kwargs]);
    }
  }

  function receive(message: unknown[]): void {
    const [type, second, third, fourth, fifth] = message;
    if (type === 2) opened.resolve(createSession(Number(second), (third as JsonObject).authid as string));
    else if (type === 3) opened.reject(fault(String(third), [(second as JsonObject).message], {}));
    else if (type === 4) {
      const challenge = (third as JsonObject).challenge;
      send([5, options.ticket ?? signChallenge(options.privateKey ?? '', challenge), {}]);
    } else if (type === 6) {
      ended.resolve(String(third));
      if (!options.ignoreGoodbye) {
        send([6, {}, 'wamp.close.goodbye_and_out']);
        socket.close();
      }
    } else if (type === 8) settle(third)?.reject(fault(String(fifth), message[5], message[6]));
    else if (type === 36) listeners.get(Number(second))?.((message[5] ?? {}) as JsonObject);
    else if (type === 50) settle(second)?.resolve((fourth as unknown[] | undefined)?.[0]);
    else if (type === 68) void invoke(message);
    // REGISTERED, SUBSCRIBED and PUBLISHED carry an id.
    else settle(second)?.resolve(third);
  }

  function createSession(id: number, authid: string): RawSession {
    return {
      id,
      authid,
      ended: ended.promise,
      call: (uri, kwargs = {}, args = []) => request((each) => [48, each, {}, uri, args, kwargs]),
      callText: (uri, kwargs, options = {}) =>
        requestText((each) => `[48,${each},${JSON.stringify(options)},"${uri}",[],${kwargs}]`),
      async register(uri, registerOptions, handler) {
        const registration = await request((each) => [64, each, registerOptions, uri]);
        if (handler) handlers.set(Number(registration), handler);
      },
      async subscribe(topic, subscribeOptions = {}, handler = () => undefined) {
        listeners.set(Number(await request((each) => [32, each, subscribeOptions, topic])), handler);
      },
      async publish(topic) {
        await request((each) => [16, each, { acknowledge: true }, topic]);
      },
      cut: () => socket.close(),
      async leave() {
        if (socket.readyState === WebSocket.OPEN) send([6, {}, 'wamp.close.normal']);
        await ended.promise;
      },
    };
  }

  socket.onopen = () =>
    send([
      1,
      options.realm ?? 's4t',
      {
        roles,
        authmethods: [options.method],
        ...(options.authid !== undefined && { authid: options.authid }),
        ...(options.publicKey && { authextra: { pubkey: options.publicKey, channel_binding: null } }),
      },
    ]);
  socket.onmessage = (event) => receive(JSON.parse(String(event.data)) as unknown[]);
  socket.onerror = () => undefined;
  socket.onclose = (event) => {
    const lost = fault('test.lost', [event.reason || `closed (${event.code})`], {});
    opened.reject(lost);
    ended.resolve('lost');
    for (const each of requests.values()) each.reject(lost);
  };
  return opened.promise;
}
