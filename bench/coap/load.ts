/**
 * Devices that post by CoAP, as many at a time as told, each post repeated until it is acknowledged
 * with 2.04. Datagrams are written once and looked into by hand: the load must not be what is measured.
 */
import { createSocket, type Socket } from 'node:dgram';
import { uintValue, writeMessage } from '../../board-agent/sources/coap/packet.ts';

export interface Load {
  port: number;
  posts: number;
  /** Under way at a time. */
  width: number;
  /** Where the numbers of the posts begin: a device must not send one twice. */
  from: number;
}

export interface Loaded {
  ms: number;
  /** Sent once more, because no answer came. */
  repeated: number;
  /** Other answers than 2.04. */
  refused: number;
}

const sockets = 16;
const devices = 100;
const repeatAfterMs = 2000;
const changed = 0x44;

function datagram(number: number): Buffer {
  const token = Buffer.alloc(4);
  token.writeUInt32BE(number);
  const body = { device: `d${number % devices}`, seq: Math.floor(number / devices), data: { temp: 21.5 } };
  return writeMessage({
    type: 'CON',
    code: '0.02',
    messageId: Math.floor(number / sockets) & 0xffff,
    token,
    options: [
      { name: 'Uri-Path', value: Buffer.from('r') },
      { name: 'Content-Format', value: uintValue(50) },
    ],
    payload: Buffer.from(JSON.stringify(body)),
  });
}

async function run({ port, posts, width, from }: Load): Promise<Loaded> {
  const open = await Promise.all(
    Array.from(
      { length: sockets },
      () =>
        new Promise<Socket>((resolve) => {
          const socket = createSocket({ type: 'udp4', recvBufferSize: 4_194_304 });
          socket.bind(0, '127.0.0.1', () => resolve(socket));
        }),
    ),
  );
  const waiting = new Map<number, { bytes: Buffer; sentAt: number }>();
  const loaded: Loaded = { ms: 0, repeated: 0, refused: 0 };
  let next = from;
  let done = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const transmit = (number: number, bytes: Buffer) => {
    open[number % sockets]?.send(bytes, port, '127.0.0.1');
  };
  const more = () => {
    if (next >= from + posts) return;
    const number = next;
    next += 1;
    const bytes = datagram(number);
    waiting.set(number, { bytes, sentAt: performance.now() });
    transmit(number, bytes);
  };
  const onMessage = (socket: Socket, bytes: Buffer) => {
    // A token of four bytes after the header; an empty acknowledgement has none.
    if (bytes.length < 8 || ((bytes[0] ?? 0) & 15) !== 4) return;
    if ((bytes[0] ?? 0) >> 4 === 4)
      socket.send(Buffer.from([0x60, 0, bytes[2] ?? 0, bytes[3] ?? 0]), port, '127.0.0.1');
    const number = bytes.readUInt32BE(4);
    if (!waiting.delete(number)) return;
    if (bytes[1] !== changed) loaded.refused += 1;
    done += 1;
    if (done === posts) resolve();
    else more();
  };
  for (const socket of open) socket.on('message', (bytes) => onMessage(socket, bytes));
  const repeat = setInterval(() => {
    const now = performance.now();
    for (const [number, post] of waiting) {
      if (now - post.sentAt < repeatAfterMs) continue;
      post.sentAt = now;
      loaded.repeated += 1;
      transmit(number, post.bytes);
    }
  }, 250);
  const startedAt = performance.now();
  for (let count = 0; count < width; count += 1) more();
  await promise;
  loaded.ms = performance.now() - startedAt;
  clearInterval(repeat);
  for (const socket of open) socket.close();
  return loaded;
}

process.on('message', (load: Load) => {
  void run(load).then((loaded) => process.send?.(loaded));
});
