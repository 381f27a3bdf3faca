/**
 * One session with the router, from connect to end: opening → joined → ended. Reconnecting is the
 * business of router-session.ts.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { errorUri } from '../../common/wamp/errors.ts';
import type { WampInvocation, WampSession } from '../../common/wamp/typed-session.ts';
import {
  createAutobahnSession,
  type Deferred,
  type InvocationDetails,
  wampError,
} from './autobahn-session.ts';
import { openRawSocket, type RawSocket } from './rawsocket.ts';

export interface RouterLink extends WampSession {
  /** Settles once, with the reason. */
  readonly ended: Promise<string>;
  /** Takes the registrations back and waits for the invocations under way, at most `graceMs`. */
  drain(graceMs: number): Promise<void>;
  close(): void;
}

export interface LinkOptions {
  socketPath: string;
  realm: string;
  ticket: string;
  joinTimeoutMs: number;
  logger: Logger;
}

const invocationType = 68;
/** authid of the static principal; the role has the same name. */
const agentAuthid = 'agent';

/** Connects and joins; rejects with what went wrong. */
export function openLink(options: LinkOptions): Promise<RouterLink> {
  const { logger } = options;
  const opened = Promise.withResolvers<RouterLink>();
  const ended = Promise.withResolvers<string>();
  /** Requests that wait for the router: autobahn forgets them when the transport ends. */
  const waiting = new Set<(error: AppError) => void>();
  const registrations: { unregister(): Promise<unknown> }[] = [];
  const invocations = new Set<Promise<unknown>>();
  /** kwargs of calls that claim to come from elsewhere. */
  const forwarded = new WeakSet<object>();
  let progressOfNextCall: ((value: unknown) => void) | undefined;
  let over = false;

  const defer = (): Deferred => {
    const notify = progressOfNextCall ?? (() => undefined);
    return { ...Promise.withResolvers<unknown>(), notify };
  };
  const transport = {
    info: {},
    send: (message: unknown[]) => socket.send(message),
    close: (_code?: number, reason?: string) => end(reason ?? 'closed'),
    onmessage: (_message: unknown[]) => {},
  };
  const session = createAutobahnSession({
    transport,
    defer,
    ticket: options.ticket,
    onLateAnswer: (reason) => logger.debug({ reason }, 'an answer came too late'),
  });

  const joinTimer = setTimeout(
    () => end(`no welcome within ${options.joinTimeoutMs} ms`),
    options.joinTimeoutMs,
  );
  const socket: RawSocket = openRawSocket(options.socketPath, {
    onOpen: () => session.join(options.realm, ['ticket'], agentAuthid),
    onMessage: (message) => {
      noteForwarded(message);
      transport.onmessage(message);
    },
    onClose: (reason) => end(reason),
  });
  session.onjoin = () => {
    clearTimeout(joinTimer);
    opened.resolve(createLink(session.id ?? 0));
  };
  session.onleave = (reason, details) => end(`${reason} ${String(details.message ?? '')}`.trim());

  function end(reason: string): void {
    if (over) return;
    over = true;
    clearTimeout(joinTimer);
    socket.close();
    opened.reject(new AppError('unavailable', `cannot join the router: ${reason}`));
    ended.resolve(reason);
    for (const reject of waiting)
      reject(new AppError('unavailable', `the link to the router ended: ${reason}`));
  }

  /** A request that ends with the link at the latest. */
  function request<T>(send: () => Promise<T>): Promise<T> {
    if (over) return Promise.reject(new AppError('unavailable', 'not joined to the router'));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    waiting.add(reject);
    const settled = () => void waiting.delete(reject);
    promise.then(settled, settled);
    try {
      send().then(resolve, reject);
    } catch (error) {
      reject(error instanceof RangeError ? new AppError('payload-too-large', error.message) : error);
    }
    return promise;
  }

  /**
   * Any caller may send `forward_for`, meant for links between routers: the router then discloses its
   * first entry as the caller, and appends the session that really called.
   */
  function noteForwarded(message: unknown[]): void {
    const [type, , , details] = message as [number, unknown, unknown, InvocationDetails | undefined];
    const origin = type === invocationType ? details?.forward_for?.at(-1) : undefined;
    if (!details || !origin) return;
    details.caller = origin.session;
    details.caller_authid = origin.authid;
    details.caller_authrole = origin.authrole;
    message[4] ??= [];
    message[5] ??= {};
    forwarded.add(message[5] as object);
  }

  function endpoint(uri: string, handler: (invocation: WampInvocation) => Promise<unknown>) {
    return async (args: unknown[], kwargs: object, details: InvocationDetails): Promise<unknown> => {
      const running = handler({
        args,
        kwargs: kwargs as JsonObject,
        caller: callerOf(details),
        isForwarded: forwarded.has(kwargs),
      });
      invocations.add(running);
      try {
        return await running;
      } catch (error) {
        throw toWampError(uri, error);
      } finally {
        invocations.delete(running);
      }
    };
  }

  function toWampError(uri: string, error: unknown): object {
    if (error instanceof AppError && error.code !== 'internal')
      return wampError(errorUri(error.code), [error.message], error.details);
    // A fault of ours: its text may tell more than a caller should know.
    logger.error({ err: error, uri }, 'a procedure failed');
    return wampError(errorUri('internal'), ['internal error'], {});
  }

  function createLink(id: number): RouterLink {
    return {
      id,
      ended: ended.promise,
      call(uri, args, kwargs, { traceparent, onProgress, signal } = {}) {
        return request(() => {
          progressOfNextCall = onProgress;
          const call = session.call(uri, args, kwargs, {
            ...(traceparent && { transaction_hash: traceparent }),
            ...(onProgress && { receive_progress: true }),
          });
          progressOfNextCall = undefined;
          if (!signal) return call;
          const cancel = () => {
            if (!over) call.cancel({ mode: 'killnowait' });
          };
          signal.addEventListener('abort', cancel, { once: true });
          return call.finally(() => signal.removeEventListener('abort', cancel));
        });
      },
      async register(uri, handler, { invoke } = {}) {
        const options = invoke ? { invoke } : {};
        registrations.push(await request(() => session.register(uri, endpoint(uri, handler), options)));
      },
      async subscribe(topic, handler) {
        await request(() => session.subscribe(topic, (args, kwargs) => handler(args, kwargs as JsonObject)));
      },
      publish(topic, args, kwargs) {
        if (!over) session.publish(topic, args, kwargs, { exclude_me: false });
      },
      async drain(graceMs) {
        if (over) return;
        const drained = Promise.allSettled(
          registrations.map((each) => request(() => each.unregister())),
        ).then(() => Promise.allSettled([...invocations]));
        const patience = Promise.withResolvers<void>();
        const timer = setTimeout(patience.resolve, graceMs);
        await Promise.race([drained, patience.promise, ended.promise]);
        clearTimeout(timer);
      },
      close: () => end('closed by us'),
    };
  }

  return opened.promise;
}

function callerOf(details: InvocationDetails): WampInvocation['caller'] {
  const { caller, caller_authid: authid, caller_authrole: role } = details;
  if (caller === undefined || authid === undefined || role === undefined) return undefined;
  return { wampSession: caller, authid, role };
}
