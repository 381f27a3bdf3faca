/**
 * The part of autobahn that the board carries: its WAMP session, without the transports, the
 * serializers and the reconnect logic (9 MB of resident memory that the board has no use for).
 */
declare module 'autobahn/lib/session.js' {
  interface SessionTransport {
    send(message: unknown[]): void;
    close(code?: number, reason?: string): void;
    onmessage?: (message: unknown[]) => void;
    info: object;
  }
  interface Deferred {
    promise: Promise<unknown>;
    resolve(value: unknown): void;
    reject(reason: unknown): void;
    notify(progress: unknown): void;
  }
  interface InvocationDetails {
    procedure: string;
    progress: ((args: unknown[]) => void) | null;
    caller?: number;
    caller_authid?: string;
    caller_authrole?: string;
  }
  export type Endpoint = (args: unknown[], kwargs: object, details: InvocationDetails) => Promise<unknown>;

  export class Session {
    constructor(
      transport: SessionTransport,
      defer: () => Deferred,
      onchallenge: (session: Session, method: string, extra: { challenge?: unknown }) => string,
      onUserError: (error: unknown) => void,
      onInternalError: (error: unknown) => void,
    );
    readonly id: number | null;
    readonly isOpen: boolean;
    onjoin: (details: object) => void;
    onleave: (reason: string, details: { message?: unknown }) => void;
    join(realm: string, authmethods: string[], authid: string, authextra?: object): void;
    leave(reason?: string, message?: string): void;
    call(procedure: string, args: unknown[], kwargs: object, options?: object): Promise<unknown>;
    register(procedure: string, endpoint: Endpoint, options: object): Promise<{ id: number }>;
  }
  /** Thrown by an endpoint, it becomes the ERROR message. */
  export class Error {
    constructor(error: string, args?: unknown[], kwargs?: object);
  }
}
