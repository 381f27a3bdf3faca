/**
 * The part of autobahn that is used: its WAMP session, without transports and reconnecting. The
 * package has no typings for this file.
 */
import * as autobahn from 'autobahn/lib/session.js';

export interface Transport {
  send(message: unknown[]): void;
  close(code?: number, reason?: string): void;
  onmessage: (message: unknown[]) => void;
  info: object;
}

export interface Deferred {
  promise: Promise<unknown>;
  resolve(value: unknown): void;
  reject(reason: unknown): void;
  notify(progress: unknown): void;
}

export interface InvocationDetails {
  caller?: number;
  caller_authid?: string;
  caller_authrole?: string;
  forward_for?: { session: number; authid: string; authrole: string }[];
}

export type CancellableCall = Promise<unknown> & { cancel(options: { mode: 'killnowait' }): void };

export interface AutobahnSession {
  readonly id: number | null;
  readonly isOpen: boolean;
  onjoin: (details: object) => void;
  onleave: (reason: string, details: { message?: unknown }) => void;
  join(realm: string, authmethods: string[], authid: string): void;
  leave(reason: string): void;
  call(uri: string, args: unknown[], kwargs: object, options: object): CancellableCall;
  register(
    uri: string,
    endpoint: (args: unknown[], kwargs: object, details: InvocationDetails) => Promise<unknown>,
    options: object,
  ): Promise<{ unregister(): Promise<unknown> }>;
  subscribe(topic: string, handler: (args: unknown[], kwargs: object) => void): Promise<unknown>;
  publish(topic: string, args: unknown[], kwargs: object, options: object): unknown;
  /** Internal: called for messages that it does not expect; closes the transport. */
  _protocol_violation: (reason: string) => void;
}

type SessionConstructor = new (
  transport: Transport,
  defer: () => Deferred,
  onchallenge: (session: unknown, method: string) => string,
  onUserError: (error: unknown) => void,
  onInternalError: (error: unknown) => void,
) => AutobahnSession;

const { Session, Error: SessionError } = autobahn as unknown as {
  Session: SessionConstructor;
  Error: new (error: string, args?: unknown[], kwargs?: object) => object;
};

export interface SessionOptions {
  transport: Transport;
  defer: () => Deferred;
  ticket: string;
  /** Answers that came after their call was given up. */
  onLateAnswer: (reason: string) => void;
}

/** After a cancelled call its answer may still be on the way; autobahn would end the session over it. */
const lateAnswer = /^(CALL-RESULT|CALL-ERROR) received for non-pending/;

export function createAutobahnSession(options: SessionOptions): AutobahnSession {
  const session = new Session(options.transport, options.defer, () => options.ticket, ignore, ignore);
  const violate = session._protocol_violation;
  session._protocol_violation = (reason) => {
    if (lateAnswer.test(reason)) options.onLateAnswer(reason);
    else violate(reason);
  };
  return session;
}

/** What an endpoint throws to answer with an ERROR message. */
export function wampError(uri: string, args: unknown[], kwargs: object): object {
  return new SessionError(uri, args, kwargs);
}

function ignore(): void {}
