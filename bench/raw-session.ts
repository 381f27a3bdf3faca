/** A bare WAMP session of the router's own principal: what everything is compared with. */
import autobahn from 'autobahn';

export interface RawSession {
  call(uri: string, args?: unknown[], kwargs?: object): Promise<unknown>;
  register(uri: string, endpoint: (args: unknown[], kwargs: object) => unknown): Promise<void>;
  close(): void;
}

export function openRawSession(options: {
  socket: string;
  realm: string;
  ticket: string;
}): Promise<RawSession> {
  const connection = new autobahn.Connection({
    // autobahn's typings know no Unix sockets.
    transports: [{ type: 'rawsocket', path: options.socket } as unknown as autobahn.ITransportDefinition],
    realm: options.realm,
    authmethods: ['ticket'],
    authid: 'agent',
    onchallenge: () => options.ticket,
    max_retries: 0,
  } as autobahn.IConnectionOptions);
  return new Promise((resolve, reject) => {
    connection.onopen = (session) =>
      resolve({
        call: async (uri, args = [], kwargs = {}) => session.call(uri, args, kwargs),
        async register(uri, endpoint) {
          await session.register(uri, (args, kwargs) => endpoint(args ?? [], kwargs ?? {}));
        },
        close: () => connection.close(),
      });
    connection.onclose = (reason) => {
      reject(new Error(`the raw session was not opened: ${reason}`));
      return true;
    };
    connection.open();
  });
}
