/** A client of server-sent events that remembers what came. */
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { until } from '../harness/until.ts';

export interface SseEvent {
  id: string | undefined;
  type: string;
  data: Record<string, unknown>;
}

export interface SseClient {
  status: number;
  headers: IncomingMessage['headers'];
  /** The body, of a refusal. */
  text(): string;
  events: SseEvent[];
  of(type: string): SseEvent[];
  ended(): boolean;
  /** Stops reading without leaving: a client that is too slow. */
  stall(): void;
  close(): void;
}

export async function openEvents(
  url: string,
  token: string,
  options: { query?: string; lastEventId?: string } = {},
): Promise<SseClient> {
  let request: ClientRequest | undefined;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request = get(
      `${url}/v1/events${options.query ? `?${options.query}` : ''}`,
      {
        agent: false,
        headers: {
          authorization: `Bearer ${token}`,
          ...(options.lastEventId !== undefined && { 'last-event-id': options.lastEventId }),
        },
      },
      resolve,
    );
    request.on('error', reject);
  });
  const events: SseEvent[] = [];
  let text = '';
  let rest = '';
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    text += chunk;
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
      const data = field('data');
      if (data !== undefined)
        events.push({ id: field('id'), type: field('event') ?? '', data: JSON.parse(data) });
    }
  });
  response.on('error', () => undefined);
  const client: SseClient = {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text: () => text,
    events,
    of: (type) => events.filter((event) => event.type === type),
    ended: () => response.closed || response.readableEnded,
    stall: () => void response.pause(),
    close: () => void request?.destroy(),
  };
  // The first beat says that nothing is missed from here on.
  if (client.status === 200)
    await until('the first beat', () => client.of('beat').length > 0 || client.ended());
  else await until('the refusal', () => client.ended());
  return client;
}
