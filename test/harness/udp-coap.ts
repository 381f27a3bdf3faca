/** A CoAP client over a UDP socket, for many requests at once and for datagrams that are none. */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import {
  type CoapOption,
  emptyMessage,
  type Message,
  type MessageType,
  parseMessage,
  writeMessage,
} from '../../board-agent/sources/coap/packet.ts';

export interface UdpRequest {
  path: string;
  payload?: string | Buffer;
  /** `0.02` (POST) when left out. */
  code?: string;
  type?: Extract<MessageType, 'CON' | 'NON'>;
  options?: CoapOption[];
  messageId?: number;
  /** With the message id the same: the same datagram once more. */
  token?: Buffer;
  /** One transmission only; after that it is silent, default 10 s. */
  timeoutMs?: number;
}

export interface UdpCoap {
  /** Resolves with the answer, also with one that comes on its own; rejects when none comes. */
  request(request: UdpRequest): Promise<Message>;
  send(bytes: Buffer): Promise<void>;
  /** Messages that came and that no request waits for. */
  others: Message[];
  close(): Promise<void>;
}

interface Waiting {
  resolve(message: Message): void;
}

export async function openUdpCoap(port: number, address = '127.0.0.1'): Promise<UdpCoap> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  await new Promise<void>((bound) => socket.bind(0, () => bound()));
  const waiting = new Map<string, Waiting>();
  const others: Message[] = [];
  let nextId = Math.floor(Math.random() * 65_536);
  let nextToken = 0;

  socket.on('message', (bytes) => {
    const message = parseMessage(bytes);
    if (message.type === 'CON') socket.send(emptyMessage('ACK', message.messageId), port, address);
    const found = waiting.get(message.token.toString('hex'));
    // An empty ACK says: later.
    if (found && message.code !== '0.00') found.resolve(message);
    else others.push(message);
  });

  const send = (bytes: Buffer) =>
    new Promise<void>((sent, failed) =>
      socket.send(bytes, port, address, (error) => (error ? failed(error) : sent())),
    );

  return {
    others,
    send,
    request(request) {
      const { path, payload = '', code = '0.02', type = 'CON', options = [], messageId } = request;
      const { token = numbered(nextToken), timeoutMs = 10_000 } = request;
      nextToken += 1;
      nextId = (nextId + 1) & 0xffff;
      const segments = path.split('/').map((each) => ({ name: 'Uri-Path', value: Buffer.from(each) }));
      const bytes = writeMessage({
        type,
        code,
        messageId: messageId ?? nextId,
        token,
        options: [...segments, ...options],
        payload: Buffer.from(payload),
      });
      const key = token.toString('hex');
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(key);
          reject(new Error(`no answer within ${timeoutMs} ms`));
        }, timeoutMs);
        waiting.set(key, {
          resolve(message) {
            clearTimeout(timer);
            waiting.delete(key);
            resolve(message);
          },
        });
        send(bytes).catch(reject);
      });
    },
    close: () => new Promise((closed) => socket.close(() => closed())),
  };
}

function numbered(number: number): Buffer {
  const token = Buffer.alloc(4);
  token.writeUInt32BE(number);
  return token;
}

/** Free on IPv6 and IPv4 at the moment. */
export async function findFreeUdpPort(): Promise<number> {
  const socket = createSocket('udp6');
  await new Promise<void>((bound) => socket.bind(0, '::', () => bound()));
  const { port } = socket.address();
  await new Promise<void>((closed) => socket.close(() => closed()));
  return port;
}
