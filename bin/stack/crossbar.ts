/** A private Crossbar node: one realm, boards and services on loopback, the wamp-agent on a Unix socket. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { renderCrossbarConfig, routerEnv } from '../../deploy/crossbar/render.ts';
import type { CrossbarTools } from '../setup/crossbar.ts';
import { socketPath } from './socket-path.ts';
import type { Part } from './supervisor.ts';

export interface CrossbarOptions {
  tools: CrossbarTools;
  /** Crossbar's node folder. */
  dir: string;
  port: number;
  realm: string;
  agentTicket: string;
}

export function agentSocketPath(dir: string): Promise<string> {
  return socketPath(dir, 'agent.sock');
}

export async function createCrossbarPart(options: CrossbarOptions): Promise<Part> {
  const { dir, port, realm, agentTicket } = options;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const agentSocket = await agentSocketPath(dir);
  const config = join(dir, 'config.json');
  await rm(config, { force: true });
  await writeFile(
    config,
    renderCrossbarConfig({ realm, agentSocket, agentTicket, publicHost: '127.0.0.1', publicPort: port }),
    { mode: 0o600 },
  );
  return {
    name: 'crossbar',
    command: options.tools.crossbar,
    args: ['start', '--cbdir', dir, '--loglevel', 'warn', '--color', 'false'],
    env: {
      ...process.env,
      // Its process titles would overwrite the environment, by which leftovers of a stack are found.
      SPT_NOENV: '1',
      PYTHONUNBUFFERED: '1',
      ...routerEnv,
    },
    cwd: dir,
    ready: () => webSocketHandshake(port),
  };
}

/** A WAMP WebSocket handshake, and away: tells that the router serves, not just that a port is open. */
export function webSocketHandshake(port: number, timeoutMs = 2_000): Promise<void> {
  return new Promise((resolve, reject) => {
    const handshake = request({
      host: '127.0.0.1',
      port,
      timeout: timeoutMs,
      agent: false,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
        'Sec-WebSocket-Protocol': 'wamp.2.json',
      },
    });
    handshake.on('upgrade', (_response, socket) => {
      socket.destroy();
      resolve();
    });
    handshake.on('response', (response) => {
      response.resume();
      reject(new Error(`the router answered ${response.statusCode} instead of a WebSocket handshake`));
    });
    handshake.on('timeout', () => handshake.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    handshake.on('error', reject);
    handshake.end();
  });
}
