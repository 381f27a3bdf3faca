/**
 * A TCP proxy to put between a board and its router.
 *   pass    forwards everything
 *   delay   forwards everything, later
 *   freeze  a half-open link: connections stay open (new ones too), nothing gets through, not even an
 *           end; what was sent meanwhile arrives after the thaw, as TCP would deliver it
 *   drop    cuts what is open and every new connection at once
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type ProxyMode = 'pass' | 'freeze' | 'drop' | { delayMs: number };

export interface FaultyProxy {
  port: number;
  /** The proxy as a router URL. */
  url: string;
  setMode(mode: ProxyMode): void;
  /** Cuts what is open now; new connections are handled by the mode in force. */
  cut(): void;
  /** How many connections are open. */
  connections(): number;
  close(): Promise<void>;
}

/** One direction: what arrived and still has to be passed on, in order. */
interface Lane {
  waiting: { act: () => void; dueAt: number }[];
  timer: NodeJS.Timeout | undefined;
}

interface Pair {
  sides: readonly [Socket, Socket];
  lanes: Lane[];
}

export async function startFaultyProxy(target: { port: number; host?: string }): Promise<FaultyProxy> {
  const pairs = new Set<Pair>();
  let mode: ProxyMode = 'pass';

  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (mode === 'drop') return void client.destroy();
    const router = connect({ port: target.port, host: target.host ?? '127.0.0.1', allowHalfOpen: true });
    const pair: Pair = { sides: [client, router], lanes: [] };
    pairs.add(pair);
    joinSides(pair, client, router);
    joinSides(pair, router, client);
  });

  function joinSides(pair: Pair, from: Socket, to: Socket): void {
    const lane: Lane = { waiting: [], timer: undefined };
    pair.lanes.push(lane);
    const pass = (act: () => void) => {
      const delayMs = typeof mode === 'object' ? mode.delayMs : 0;
      lane.waiting.push({ act, dueAt: performance.now() + delayMs });
      pump(lane);
    };
    from.setNoDelay(true);
    from.on('data', (chunk) => pass(() => to.destroyed || to.write(chunk)));
    from.on('end', () => pass(() => to.end()));
    from.on('close', () => pass(() => closePair(pair)));
    // The close that follows says the same.
    from.on('error', () => undefined);
  }

  /** Passes on what is due; what waits longer holds back all that came after it. */
  function pump(lane: Lane): void {
    clearTimeout(lane.timer);
    while (mode !== 'freeze' && lane.waiting[0] !== undefined) {
      const waitMs = lane.waiting[0].dueAt - performance.now();
      if (waitMs > 0) {
        lane.timer = setTimeout(() => pump(lane), Math.ceil(waitMs));
        return;
      }
      lane.waiting.shift()?.act();
    }
  }

  function closePair(pair: Pair): void {
    for (const lane of pair.lanes) {
      clearTimeout(lane.timer);
      lane.waiting = [];
    }
    for (const side of pair.sides) side.destroy();
    pairs.delete(pair);
  }

  const cut = () => {
    for (const pair of pairs) closePair(pair);
  };

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `ws://127.0.0.1:${port}/`,
    setMode(next) {
      mode = next;
      if (mode === 'drop') cut();
      for (const pair of pairs) for (const lane of pair.lanes) pump(lane);
    },
    cut,
    connections: () => pairs.size,
    async close() {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
