/**
 * Takes POST requests of this host: the path goes to the rules, the body to the decoder. 200 is sent
 * once the message is on disk. Listens on a Unix socket in the state folder unless a port is given.
 */
import { chmodSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { resolve } from 'node:path';
import { messageOf } from '../../../common/runtime/app-error.ts';
import { ConfigError } from '../../../common/runtime/config.ts';
import { messageLimits } from '../../intake/prepare.ts';
import type { RawMessage } from '../../intake/types.ts';
import { readSecretFile } from '../../state/secret-file.ts';
import type { Source, SourceContext } from '../source.ts';
import { answerOf, refusal, send } from './answers.ts';
import { findRefusal } from './guard.ts';
import { type HttpSourceSettings, isLoopback } from './settings.ts';

export const httpLimits = {
  bodyBytes: messageLimits.payloadBytes,
  connections: 256,
  requestMs: 10_000,
  idleMs: 5000,
  keyLength: 200,
} as const;

/** A port or socket that is taken is asked for again. */
const retryMs = 5000;
const fieldNames = ['device', 'seq', 'mac'] as const;
const help = `This board takes messages of devices and scripts.

  POST /<path>            the path chooses the rule, the body is what its decoder reads
  ?device=&seq=&mac=      where the body does not carry them
  Idempotency-Key: <key>  the same for repetitions of one message, remembered for five minutes

200 {"status":"ok"} = it is on the board's disk. 503: nothing is kept, send it again later.
`;

export function createHttpSource(settings: HttpSourceSettings, context: SourceContext): Source {
  const { clock } = context;
  const logger = context.logger.child({ source: settings.name });
  const door = context.intake.open('http', settings);
  const token = settings.tokenFile === undefined ? undefined : readToken(settings.tokenFile);
  const socket = resolve(context.stateDir, settings.socket);
  const guard = { token, hosts: hostsOf(settings) };
  const server = createServer({ requestTimeout: httpLimits.requestMs, connectionsCheckingInterval: 1000 });
  server.maxConnections = httpLimits.connections;
  server.keepAliveTimeout = httpLimits.idleMs;
  server.on('request', (request, response) => void handle(request, response));
  let cancelRetry: (() => void) | undefined;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const refused = findRefusal(request, guard);
      if (refused) return send(response, refused);
      if (request.method === 'GET') return answerGet(request, response);
      if (request.method !== 'POST')
        return send(response, {
          ...refusal(405, 'method-not-allowed', 'only POST'),
          headers: { allow: 'GET, POST' },
        });
      const body = await readBody(request);
      if (body === undefined)
        return send(response, {
          ...refusal(413, 'too-large', `a message has at most ${httpLimits.bodyBytes} bytes`),
          headers: { connection: 'close' },
        });
      send(response, answerOf(await door.take(messageOfRequest(request, body))));
    } catch (error) {
      // The sender went away in the middle, or sent what is no path.
      logger.debug({ reason: messageOf(error) }, 'a request was not answered as it should be');
      if (!response.headersSent) send(response, refusal(400, 'invalid-request', messageOf(error)));
    }
  }

  /** Resolves after the first try. */
  function listen(): Promise<void> {
    return new Promise((tried) => {
      server.once('error', (error) => {
        door.setFault(`cannot listen on ${settings.port ?? socket}: ${error.message}`);
        cancelRetry = clock.after(retryMs, () => void listen());
        tried();
      });
      server.listen(settings.port === undefined ? freeSocket(socket) : addressOf(settings), () => {
        server.removeAllListeners('error');
        server.on('error', (error) => logger.warn({ err: error }, 'a connection could not be taken'));
        if (settings.port === undefined) chmodSync(socket, 0o600);
        door.setFault(undefined);
        logger.info({ address: server.address() }, 'listening');
        tried();
      });
    });
  }

  return {
    modules: [],
    procedures: [],
    start: listen,
    async stop() {
      cancelRetry?.();
      await close(server);
    },
  };
}

const addressOf = ({ port, host }: HttpSourceSettings) => ({ port, host });

/** One that was left by a killed agent would be in the way; the state folder is ours alone. */
function freeSocket(path: string): { path: string } {
  if (statSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path);
  return { path };
}

function hostsOf({ port, host }: HttpSourceSettings): ReadonlySet<string> | undefined {
  // Who is reached from elsewhere by names that only its users know asks for a token instead.
  if (port === undefined || !isLoopback(host)) return undefined;
  return new Set(['localhost', '127.0.0.1', '::1', host]);
}

/** Throws ConfigError. */
function readToken(path: string): string {
  try {
    const token = readSecretFile(path).toString().trim();
    if (token.length < 16) throw new Error('it must hold at least 16 characters');
    return token;
  } catch (error) {
    throw new ConfigError([`tokenFile ${path}: ${messageOf(error)}`]);
  }
}

function answerGet({ url }: IncomingMessage, response: ServerResponse): void {
  if (url === '/') send(response, { code: 200, body: help });
  else send(response, refusal(404, 'not-found', 'there is nothing to read here but /'));
}

/** undefined = it is too large. Rejects when the sender goes away. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // The answer still has to go out on this connection.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > httpLimits.bodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function messageOfRequest({ url = '/', headers }: IncomingMessage, payload: Buffer): RawMessage {
  const { pathname, searchParams } = new URL(url, 'http://board');
  const fields: Record<string, string> = {};
  for (const name of fieldNames) {
    const value = searchParams.get(name);
    if (value !== null) fields[name] = value;
  }
  const key = headers['idempotency-key'];
  if (typeof key === 'string' && key.length > httpLimits.keyLength)
    throw new Error(`Idempotency-Key must have at most ${httpLimits.keyLength} characters`);
  const contentType = headers['content-type']?.split(';', 1)[0]?.trim();
  return {
    path: decodeURIComponent(pathname).slice(1),
    payload,
    fields,
    ...(contentType && { contentType }),
    ...(typeof key === 'string' && key !== '' && { transmission: key }),
  };
}

/** Requests under way are answered; connections that wait for nothing are closed. */
async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((done) => server.close(() => done()));
  server.closeIdleConnections();
  await closed;
}
