/** Messages as a client would write them, and a peer that keeps what it is sent. */
import type { CoapRequest } from '../../../../board-agent/sources/coap/exchanges.ts';
import {
  type CoapOption,
  type Message,
  type Outgoing,
  parseMessage,
  writeMessage,
} from '../../../../board-agent/sources/coap/packet.ts';
import type { Peer } from '../../../../board-agent/sources/coap/peer.ts';

export interface FakePeer extends Peer {
  bytes: Buffer[];
  messages(): Message[];
}

export function createPeer(key = '0 ::1 4711'): FakePeer {
  const bytes: Buffer[] = [];
  return { key, bytes, send: (each) => void bytes.push(each), messages: () => bytes.map(parseMessage) };
}

export const option = (name: string, value: string | Buffer): CoapOption => ({
  name,
  value: typeof value === 'string' ? Buffer.from(value) : value,
});

export function write(more: Partial<Outgoing> = {}): Buffer {
  return writeMessage({ type: 'CON', code: '0.02', messageId: 1, token: Buffer.from('t'), ...more });
}

export function requestOf(more: Partial<Outgoing>, peer = createPeer()): CoapRequest {
  return { ...parseMessage(write(more)), peer, transmission: 'x' };
}
