/** The receiving end of a webhook sink, which notes what came, when, and in which batches. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SinkPoint } from '../../conductor/sinks/sink-kind.ts';

export interface TestReceiver {
  url: string;
  batches: { at: number; points: SinkPoint[] }[];
  points(): SinkPoint[];
  stop(): Promise<void>;
}

export async function startReceiver(): Promise<TestReceiver> {
  const batches: TestReceiver['batches'] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    const { points } = JSON.parse(body) as { points: SinkPoint[] };
    batches.push({ at: performance.now(), points });
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/points`,
    batches,
    points: () => batches.flatMap(({ points }) => points),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
