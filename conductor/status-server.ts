/** The conductor's HTTP port: health, readiness, metrics, and wakes for whoever has the relay's key. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError, messageOf, statusOf } from '../common/runtime/app-error.ts';
import { within } from '../common/runtime/within.ts';
import { wakePath } from '../common/wake/messages.ts';
import type { WakeRoute } from './wake-route.ts';

export interface StatusServerOptions {
  host: string;
  port: number;
  /** Throws when the process cannot do its work. */
  checkReady(): Promise<void>;
  /** In Prometheus' text format. */
  metrics(): Promise<{ contentType: string; text: string }>;
  /** undefined = the engine does not run yet, or does not any more. */
  wake(): WakeRoute | undefined;
}

export interface StatusServer {
  url: string;
  close(): Promise<void>;
}

interface Answer {
  status: number;
  contentType: string;
  body: string;
}

export async function startStatusServer(options: StatusServerOptions): Promise<StatusServer> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0];
    const answering =
      request.method === 'POST' && path === wakePath
        ? answerWake(options, request, response)
        : answer(options, request.method === 'GET' ? path : undefined);
    answering.then(
      ({ status, contentType, body }) => {
        response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' });
        response.end(body);
      },
      (error: unknown) => response.writeHead(500).end(messageOf(error)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A frozen database is not ready either. */
const readyLimitMs = 5000;

const json = (status: number, body: object): Answer => ({
  status,
  contentType: 'application/json',
  body: JSON.stringify(body),
});

async function answerWake(
  options: StatusServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Answer> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    const route = options.wake();
    if (!route) throw new AppError('unavailable', 'this conductor does not work right now');
    const { status, body } = await route.handle(request, gone.signal);
    return json(status, body);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return json(statusOf(error.code), { code: error.code, message: error.message });
  }
}

async function answer(options: StatusServerOptions, path: string | undefined): Promise<Answer> {
  if (path === '/healthz') return json(200, { status: 'ok', uptimeSeconds: process.uptime() });
  if (path === '/readyz') {
    try {
      await within(readyLimitMs, options.checkReady());
      return json(200, { status: 'ready', checks: { database: 'ok' } });
    } catch {
      return json(503, { status: 'not-ready', checks: { database: 'failed' } });
    }
  }
  if (path === '/metrics') {
    const { contentType, text } = await options.metrics();
    return { status: 200, contentType, body: text };
  }
  return json(404, { status: 'not-found' });
}
