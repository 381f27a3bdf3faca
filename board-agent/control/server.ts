/**
 * `control.sock` in the state folder: a command on this host calls a procedure of the running agent.
 * One JSON line there, `{procedure, kwargs}`, and one back, `{result}` or `{error}`. Only the agent's
 * user may open it, and the procedures are those that are called from afar too, with the same checks.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { asObject, asString, optional } from '../../common/runtime/guards.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Invocation } from '../session/link.ts';

export interface ControlOptions {
  stateDir: string;
  /** Prefix of the board's procedures. */
  prefix: string;
  invoke: (invocation: Invocation) => Promise<unknown>;
  logger: Logger;
}

export interface ControlServer {
  /** Never rejects: without the socket the agent still does its work. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export const controlPath = (stateDir: string) => join(stateDir, 'control.sock');

export const controlLimits = { requestBytes: 65_536, connections: 4, idleMs: 60_000 } as const;

export function createControlServer(options: ControlOptions): ControlServer {
  const { logger } = options;
  const path = controlPath(options.stateDir);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, options);
  });
  server.maxConnections = controlLimits.connections;
  server.on('error', (error) => logger.warn({ reason: messageOf(error) }, 'there is no control socket'));

  return {
    start: () =>
      new Promise((resolve) => {
        server.once('error', () => resolve());
        // Of a process that was killed: the folder is locked, nobody else listens there.
        rmSync(path, { force: true });
        const mask = process.umask(0o177);
        try {
          server.listen(path, () => {
            chmodSync(path, 0o600);
            resolve();
          });
        } finally {
          process.umask(mask);
        }
      }),
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        // Also called when it does not listen.
        server.close(() => resolve());
      }),
  };
}

function serve(socket: Socket, options: ControlOptions): void {
  let received = '';
  let asked = false;
  socket.setEncoding('utf8');
  socket.setTimeout(controlLimits.idleMs, () => socket.destroy());
  socket.on('error', (error) =>
    options.logger.debug({ reason: messageOf(error) }, 'a control connection broke'),
  );
  socket.on('data', (chunk) => {
    received += String(chunk);
    if (received.length > controlLimits.requestBytes) socket.destroy();
    const end = received.indexOf('\n');
    if (end < 0 || asked) return;
    asked = true;
    // A long replay is no idle connection.
    socket.setTimeout(0);
    void answer(received.slice(0, end), options).then((reply) => socket.end(`${JSON.stringify(reply)}\n`));
  });
}

async function answer(line: string, { prefix, invoke }: ControlOptions): Promise<object> {
  try {
    const input = asObject(JSON.parse(line), 'request', ['procedure', 'kwargs']);
    const procedure = asString(input.procedure, 'procedure', { max: 100 });
    const kwargs = optional(input.kwargs, (value) => asObject(value, 'kwargs')) ?? {};
    const uri = prefix + procedure;
    return { result: await invoke({ uri, args: [], kwargs, callerAuthid: 'control.sock' }) };
  } catch (error) {
    const code = error instanceof AppError ? error.code : 'invalid-request';
    return { error: { code, message: messageOf(error) } };
  }
}
