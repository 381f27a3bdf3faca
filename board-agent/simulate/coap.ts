/** Devices that post confirmable messages, each from a port of its own. Acknowledged is a 2.04. */
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { setMaxListeners } from 'node:events';
import { Agent } from 'coap';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Delivery, Message, Transport } from './behind-gateway.ts';

/** The library repeats a message for half a minute; then it is posted anew, with its number. */
const answerTimeoutMs = 30_000;

interface Peer {
  socket: Socket;
  agent: Agent;
}

/** `url` is `coap://host[:port]/path`. Rejects when the host is not known. */
export async function connectCoap(devices: readonly string[], url: URL): Promise<Transport> {
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const { address, family } = await lookup(hostname);
  const peers = devices.map((): Peer => {
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    setMaxListeners(0, socket);
    socket.on('error', () => undefined);
    return { socket, agent: new Agent({ socket }) };
  });
  const port = url.port === '' ? 5683 : Number(url.port);
  return {
    deliver: (index, message) => {
      const peer = peers[index];
      if (!peer) return Promise.resolve({ status: 'refused', detail: 'there is no such device' });
      return post(peer, { hostname: address, port, pathname: url.pathname }, message);
    },
    async close() {
      await Promise.all(
        peers.map(({ socket }) => new Promise<void>((resolve) => socket.close(() => resolve()))),
      );
    },
  };
}

function post(
  { agent }: Peer,
  target: { hostname: string; port: number; pathname: string },
  { payload }: Message,
): Promise<Delivery> {
  return new Promise((resolve) => {
    const request = agent.request({ ...target, method: 'POST', confirmable: true });
    const settle = (delivery: Delivery) => {
      clearTimeout(late);
      resolve(delivery);
    };
    const fail = (detail: string) => {
      agent.abort(request);
      settle({ status: 'unavailable', detail });
    };
    const late = setTimeout(() => fail('no answer within 30 s'), answerTimeoutMs);
    request.setOption('Content-Format', 'application/json');
    request.on('error', (error: unknown) => fail(messageOf(error)));
    request.on('response', ({ code, headers, payload: answer }) => {
      const detail = `${code} ${answer.toString().slice(0, 200)}`;
      if (code.startsWith('2.')) settle({ status: 'acknowledged' });
      else if (code.startsWith('5.'))
        settle({ status: 'unavailable', detail, retryAfterMs: 1000 * Number(headers['Max-Age'] ?? 1) });
      else settle({ status: 'refused', detail });
    });
    request.end(payload);
  });
}
