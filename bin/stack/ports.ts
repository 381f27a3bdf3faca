import { connect, createServer } from 'node:net';
import { SetupError } from '../setup/progress.ts';

/** Below the range that the kernel takes outgoing ports from, so that a restarted part finds its port free. */
const range = { first: 20_000, last: 31_999 };

/** A port on loopback that nothing listens on. */
export async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = range.first + Math.floor(Math.random() * (range.last - range.first));
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${range.first} to ${range.last}`);
}

/** Throws a sentence that names the port and the variable that moves it. */
export async function requireFreePort(port: number, usedFor: string, variable: string): Promise<void> {
  if (await isFree(port)) return;
  throw new SetupError(
    `Port ${port} (${usedFor}) is taken by another program: stop that, or set ${variable} to a free port.`,
  );
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Resolves when something accepts connections at a port on loopback; throws otherwise. */
export function canConnect(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', reject);
  });
}
