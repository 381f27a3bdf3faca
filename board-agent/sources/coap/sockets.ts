/** The UDP sockets of a server: opened, opened again when one fails, closed. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Logger } from '../../../common/runtime/logger.ts';
import type { Clock } from '../../clock.ts';
import type { Peer } from './peer.ts';

export interface ListenAddress {
  address: string;
  /** 0 = any free one. */
  port: number;
}

export interface SocketsOptions {
  addresses: readonly ListenAddress[];
  /** Whether a host that has no such address (IPv6 is off) goes without. */
  mayMiss: boolean;
  clock: Clock;
  logger: Logger;
  receive(bytes: Buffer, peer: Peer): void;
  /** What is not listened on at the moment, and why; undefined = all is well. */
  onFault(fault: string | undefined): void;
}

export interface Sockets {
  /** Resolves after the first try of each. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

const retryMs = 5000;
/** A burst of a thousand devices waits here, as far as the kernel allows. */
const receiveBufferBytes = 4_194_304;
const missing = ['EADDRNOTAVAIL', 'EAFNOSUPPORT'];

export function createSockets(options: SocketsOptions): Sockets {
  const { addresses, clock, logger } = options;
  const open = new Map<number, Socket>();
  const faults = new Map<number, string>();
  const retries = new Map<number, () => void>();
  let stopped = false;

  function report(): void {
    options.onFault(faults.size > 0 ? [...faults.values()].join('; ') : undefined);
  }

  function fail(index: number, where: string, error: NodeJS.ErrnoException): void {
    if (options.mayMiss && missing.includes(error.code ?? '') && addresses.length > 1) {
      logger.info({ address: where }, 'this host has no such address');
      return;
    }
    faults.set(index, `cannot listen on ${where}: ${error.message}`);
    report();
    retries.set(
      index,
      clock.after(retryMs, () => void listen(index)),
    );
  }

  function listen(index: number): Promise<void> {
    const { address, port } = addresses[index] ?? { address: '', port: 0 };
    const where = isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
    const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4' });
    const peerAt = createPeers(socket, index, logger);
    return new Promise((tried) => {
      socket.on('error', (error) => {
        open.delete(index);
        void close(socket);
        if (!stopped) fail(index, where, error);
        tried();
      });
      socket.on('message', (bytes, from) => options.receive(bytes, peerAt(from.address, from.port)));
      socket.bind(port, address, () => {
        grow(socket, logger);
        open.set(index, socket);
        faults.delete(index);
        report();
        logger.info({ address: socket.address() }, 'listening');
        tried();
      });
    });
  }

  return {
    async start() {
      stopped = false;
      await Promise.all(addresses.map((_, index) => listen(index)));
    },
    async stop() {
      stopped = true;
      for (const cancel of retries.values()) cancel();
      await Promise.all([...open.values()].map(close));
      open.clear();
    },
  };
}

/** With the way back. What cannot be sent is lost, as on any network. */
function createPeers(socket: Socket, index: number, logger: Logger): (address: string, port: number) => Peer {
  const onSent = (error: Error | null) => {
    if (error) logger.debug({ reason: error.message }, 'an answer could not be sent');
  };
  return (address, port) => ({
    key: `${index} ${address} ${port}`,
    send(bytes) {
      try {
        socket.send(bytes, port, address, onSent);
      } catch (error) {
        // The socket is closed, or the sender has port 0.
        onSent(error as Error);
      }
    },
  });
}

function grow(socket: Socket, logger: Logger): void {
  try {
    socket.setRecvBufferSize(receiveBufferBytes);
  } catch (error) {
    logger.debug({ err: error }, 'the socket keeps its receive buffer');
  }
}

function close(socket: Socket): Promise<void> {
  return new Promise((closed) => {
    try {
      socket.close(() => closed());
    } catch {
      // It is closed already: bind failed.
      closed();
    }
  });
}
