/**
 * One HTTP request to a relay. What matters most is on which side of "may have reached the board" a
 * failure lies: only a request that was never given to a connection may be tried elsewhere.
 *
 * node:http on purpose: with keep-alive it takes less than half of the time of fetch for such small
 * requests, and this is the hot path of every RPC.
 */
import { type Agent, type IncomingMessage, request } from 'node:http';

export interface RelayRequest {
  relayUrl: string;
  path: string;
  key: string;
  body: string;
  agent: Agent;
  /** Ends the request, also while its answer is being read. */
  signal: AbortSignal;
  /** Called once a connection has taken the request: from then on it may be received. */
  onSent?: () => void;
}

export type Delivery =
  | { outcome: 'answered'; response: IncomingMessage }
  /** No connection took the request: nothing was done. */
  | { outcome: 'not-sent'; cause: unknown }
  /** It was on its way; whether it was received is unknown. */
  | { outcome: 'lost'; cause: unknown };

/** A relay is near: it accepts at once, or is not there. */
const connectDeadlineMs = 1000;

/** Never throws. */
export function deliver(options: RelayRequest): Promise<Delivery> {
  const { signal } = options;
  return new Promise((resolve) => {
    let sent = false;
    let connecting: NodeJS.Timeout | undefined;
    const outgoing = request({
      ...addressOf(options.relayUrl, options.path),
      method: 'POST',
      agent: options.agent,
      headers: {
        authorization: `Bearer ${options.key}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(options.body),
      },
    });
    const noteSent = () => {
      sent = true;
      options.onSent?.();
    };
    const abort = () => void outgoing.destroy(new Error('given up'));
    const settle = (delivery: Delivery) => {
      clearTimeout(connecting);
      if (delivery.outcome !== 'answered') signal.removeEventListener('abort', abort);
      else delivery.response.once('close', () => signal.removeEventListener('abort', abort));
      resolve(delivery);
    };
    outgoing.on('socket', (socket) => {
      if (!socket.connecting) {
        noteSent();
        return;
      }
      connecting = setTimeout(() => outgoing.destroy(new Error('no connection in time')), connectDeadlineMs);
      socket.once('connect', () => {
        noteSent();
        clearTimeout(connecting);
      });
    });
    outgoing.on('response', (response) => settle({ outcome: 'answered', response }));
    // Also called after the response began; its reader sees that by itself, and settling twice does nothing.
    outgoing.on('error', (cause) => settle({ outcome: sent ? 'lost' : 'not-sent', cause }));
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    outgoing.end(options.body);
  });
}

const addresses = new Map<string, { hostname: string; port: string; prefix: string }>();

/** Parsed once: parsing takes as long as all else that is done for a request here. */
function addressOf(relayUrl: string, path: string): { hostname: string; port: string; path: string } {
  let address = addresses.get(relayUrl);
  if (address === undefined) {
    const { hostname, port, pathname } = new URL(relayUrl);
    address = {
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      prefix: pathname.replace(/\/$/, ''),
    };
    // One per life of an agent.
    if (addresses.size > 1000) addresses.clear();
    addresses.set(relayUrl, address);
  }
  return { hostname: address.hostname, port: address.port, path: address.prefix + path };
}

/** A board's answer fits in one WAMP message, 1 MiB; the rest is room for what the relay adds. */
const maxAnswerBytes = 4 * 1024 * 1024;

/** The whole answer as text. Throws when it breaks off or is too long. */
export function readText(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > maxAnswerBytes) response.destroy(new Error('the answer is too long'));
    });
    response.on('end', () => resolve(text));
    response.on('error', reject);
    response.on('close', () => {
      if (!response.complete) reject(new Error('the answer broke off'));
    });
  });
}

/** Lines of an answer as they come. Not asking for the next one slows the sender down. */
export async function* readLines(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > maxAnswerBytes) throw new Error('a line is too long');
    for (const line of parts) if (line !== '') yield line;
  }
  if (rest !== '') yield rest;
}
