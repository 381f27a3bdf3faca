/** A relay that does what a test wants: the real one lives in the wamp-agent. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { LiveAgent } from '../../../common/db/queries/wamp-agents.ts';

export interface FakeRelay {
  agent: LiveAgent;
  /** Bodies of the requests that arrived. */
  received: Record<string, unknown>[];
  stop(): Promise<void>;
}

type Answer = (request: IncomingMessage, response: ServerResponse, body: Record<string, unknown>) => void;

export async function startFakeRelay(id: string, answer: Answer): Promise<FakeRelay> {
  const received: Record<string, unknown>[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      const body = JSON.parse(text) as Record<string, unknown>;
      received.push(body);
      answer(request, response, body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    agent: { id, cell: 'default', relayUrl: `http://127.0.0.1:${port}` },
    received,
    async stop() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function answerJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
