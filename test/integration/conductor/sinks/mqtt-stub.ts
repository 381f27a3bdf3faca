/** A broker that says what real ones say rarely: just enough of MQTT 5 to take messages of QoS 1. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface MqttStubOptions {
  /** Told to the client, and held against it: who has more unanswered is cut off (0x93). */
  receiveMaximum?: number;
  /** Reason code of the PUBACK of a message; 0 = it is taken. */
  reasonOf?: (payload: string, count: number) => number;
}

export async function startMqttStub({ receiveMaximum, reasonOf = () => 0 }: MqttStubOptions = {}) {
  const taken: string[] = [];
  const sockets = new Set<Socket>();
  let count = 0;
  let most = 0;
  let cuts = 0;

  function serve(socket: Socket): void {
    let rest = Buffer.alloc(0);
    const unanswered: { id: Buffer; payload: string }[] = [];

    function answerAll(): void {
      for (const { id, payload } of unanswered.splice(0)) {
        count += 1;
        const reason = reasonOf(payload, count);
        if (reason === 0) taken.push(payload);
        socket.write(Buffer.concat([Buffer.from([0x40, 3]), id, Buffer.from([reason])]));
      }
    }

    function take(type: number, body: Buffer): void {
      const limit = receiveMaximum === undefined ? [] : [0x21, receiveMaximum >> 8, receiveMaximum & 0xff];
      if (type === 1) socket.write(Buffer.from([0x20, 3 + limit.length, 0, 0, limit.length, ...limit]));
      if (type === 12) socket.write(Buffer.from([0xd0, 0]));
      if (type !== 3) return;
      const topicEnd = 2 + body.readUInt16BE(0);
      // After the id, a byte says that there are no properties.
      const payload = body.subarray(topicEnd + 3).toString();
      unanswered.push({ id: body.subarray(topicEnd, topicEnd + 2), payload });
      most = Math.max(most, unanswered.length);
      if (unanswered.length > (receiveMaximum ?? 65_535)) {
        cuts += 1;
        socket.end(Buffer.from([0xe0, 1, 0x93]));
        return;
      }
      // Not before all that came with it: so it is seen how many the client has under way.
      if (unanswered.length === 1) setImmediate(answerAll);
    }

    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (let packet = readPacket(rest); packet; packet = readPacket(rest)) {
        rest = rest.subarray(packet.end);
        take(packet.type, packet.body);
      }
    });
  }

  const server = createServer((socket) => {
    sockets.add(socket);
    serve(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Payloads, in order, each as often as it was taken. */
    taken,
    most: () => most,
    cuts: () => cuts,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The length is written in groups of seven bits, the lowest first (§1.5.5). */
function readPacket(bytes: Buffer): { type: number; body: Buffer; end: number } | undefined {
  let length = 0;
  for (let at = 1; at < bytes.length && at < 5; at += 1) {
    const byte = bytes[at] as number;
    length += (byte & 0x7f) << (7 * (at - 1));
    if (byte & 0x80) continue;
    const end = at + 1 + length;
    if (bytes.length < end) return undefined;
    return { type: (bytes[0] as number) >> 4, body: bytes.subarray(at + 1, end), end };
  }
  return undefined;
}
