/** The agent's HTTP side: health, metrics, and the relay behind its key. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { secretsEqual } from '../../common/runtime/secrets.ts';
import { within } from '../../common/runtime/within.ts';
import type { Metrics } from '../metrics.ts';
import type { Route } from '../relay/routes.ts';
import { answerError, answerJson } from './answers.ts';

/** A frozen router or database is not ready either. */
const readyLimitMs = 5000;

export interface AgentServerOptions {
  host: string;
  port: number;
  relayKey: string;
  relayRoutes: Record<string, Route>;
  /** Real checks by name; each throws when the dependency is not usable. */
  readiness: Record<string, () => Promise<void>>;
  metrics: Metrics;
  logger: Logger;
}

export interface AgentServer {
  port: number;
  /** Refuses new requests, ends idle connections, waits for answers under way, at most `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

export async function startServer(options: AgentServerOptions): Promise<AgentServer> {
  const { logger, metrics } = options;
  let stopping = false;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    if (path.startsWith('/relay/')) return relay(path, request, response);
    if (request.method !== 'GET') throw new AppError('method-not-allowed', 'only GET');
    if (path === '/healthz') return answerJson(response, 200, { status: 'ok' });
    if (path === '/readyz') return ready(response);
    if (path !== '/metrics') throw new AppError('not-found', 'no such path');
    response.writeHead(200, { 'content-type': metrics.registry.contentType });
    response.end(await metrics.registry.metrics());
  }

  async function relay(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (!secretsEqual(token, options.relayKey)) throw new AppError('unauthenticated', 'wrong relay key');
    const route = options.relayRoutes[path];
    if (!route) throw new AppError('not-found', 'no such path');
    if (request.method !== 'POST') throw new AppError('method-not-allowed', 'only POST');
    if (stopping)
      throw new AppError('relay-unavailable', 'this relay is stopping', { details: { mayHaveRun: false } });
    await route(request, response);
  }

  async function ready(response: ServerResponse): Promise<void> {
    const checks = await Promise.all(
      Object.entries(options.readiness).map(async ([name, check]) => {
        const fault = await within(readyLimitMs, check()).then(
          () => undefined,
          (error: unknown) => (error instanceof Error ? error.message : String(error)),
        );
        return [name, fault ?? 'ok'] as const;
      }),
    );
    const isReady = !stopping && checks.every(([, state]) => state === 'ok');
    answerJson(response, isReady ? 200 : 503, {
      status: isReady ? 'ready' : 'not-ready',
      checks: Object.fromEntries(checks),
    });
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!(error instanceof AppError)) logger.error({ err: error, path: request.url }, 'request failed');
      answerError(response, error);
    });
  });
  server.keepAliveTimeout = 65_000;
  await listen(server, options.port, options.host);
  return {
    port: (server.address() as AddressInfo).port,
    async stop(graceMs) {
      stopping = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
