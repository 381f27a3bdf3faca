/** Boardwalk's own servers as parts of the stack: their variables, ports and readiness. */
import { join } from 'node:path';
import { findFreePort } from './ports.ts';
import { realm, repositoryRoot, type StackSettings } from './settings.ts';
import type { Part } from './supervisor.ts';

export interface Server {
  part: Part;
  url: string;
}

export interface Servers {
  apis: Server[];
  agents: Server[];
  conductors: Server[];
}

export interface ServersOptions {
  settings: StackSettings;
  wampUrl: string;
  /** Crossbar's socket for the wamp-agents. */
  routerSocket: string;
  /** `<NAME>_FILE` variables of the secrets. */
  secretFiles: Record<
    'DATABASE_URL_FILE' | 'BOARDWALK_RELAY_KEY_FILE' | 'BOARDWALK_AGENT_TICKET_FILE',
    string
  >;
}

/** Each server gets the secrets that it needs and no others. */
export async function declareServers(options: ServersOptions): Promise<Servers> {
  const { settings, wampUrl } = options;
  const { DATABASE_URL_FILE, BOARDWALK_RELAY_KEY_FILE, BOARDWALK_AGENT_TICKET_FILE } = options.secretFiles;
  const declare = async (
    folder: string,
    count: number,
    firstPort: number | undefined,
    env: (port: number) => Record<string, string>,
  ) => {
    const servers: Server[] = [];
    for (let number = 1; number <= count; number += 1) {
      const port = number === 1 && firstPort !== undefined ? firstPort : await findFreePort();
      const name = number === 1 ? folder : `${folder}-${number}`;
      servers.push(createServer({ name, folder, port, env: { ...env(port), ...settings.env } }));
    }
    return servers;
  };
  // Files of operations: written by wamp-agents, read by apis, removed by conductors.
  const BOARDWALK_ARTIFACT_DIR = join(settings.home, 'artifacts');
  // All of it is on this machine: so are the databases and brokers that one tries.
  const sinks = { BOARDWALK_SINK_ALLOW_PRIVATE: '1', BOARDWALK_SINK_DIR: join(settings.home, 'sinks') };
  return {
    apis: await declare('api', settings.apis, settings.apiPort, (port) => ({
      DATABASE_URL_FILE,
      BOARDWALK_RELAY_KEY_FILE,
      BOARDWALK_API_HOST: '127.0.0.1',
      BOARDWALK_API_PORT: String(port),
      BOARDWALK_ARTIFACT_DIR,
      ...sinks,
      BOARDWALK_WAMP_URL: wampUrl,
      BOARDWALK_REALM: realm,
    })),
    agents: await declare('wamp-agent', settings.agents, undefined, (port) => ({
      DATABASE_URL_FILE,
      BOARDWALK_RELAY_KEY_FILE,
      BOARDWALK_AGENT_TICKET_FILE,
      BOARDWALK_ARTIFACT_DIR,
      BOARDWALK_ROUTER_SOCKET: options.routerSocket,
      BOARDWALK_REALM: realm,
      BOARDWALK_RELAY_HOST: '127.0.0.1',
      BOARDWALK_RELAY_PORT: String(port),
      BOARDWALK_BOARD_URLS: wampUrl,
    })),
    conductors: await declare('conductor', settings.conductors, undefined, (port) => ({
      DATABASE_URL_FILE,
      BOARDWALK_RELAY_KEY_FILE,
      BOARDWALK_ARTIFACT_DIR,
      ...sinks,
      BOARDWALK_CONDUCTOR_HOST: '127.0.0.1',
      BOARDWALK_CONDUCTOR_PORT: String(port),
    })),
  };
}

function createServer(options: {
  name: string;
  folder: string;
  port: number;
  env: Record<string, string>;
}): Server {
  const url = `http://127.0.0.1:${options.port}`;
  return {
    url,
    part: {
      name: options.name,
      command: process.execPath,
      args: [join(repositoryRoot, options.folder, 'main.ts')],
      env: childEnv(options.env),
      cwd: repositoryRoot,
      ready: () => requireReady(url),
    },
  };
}

/** The caller's environment with `values` over it; a secret given as a file replaces an inherited one. */
export function childEnv(values: Record<string, string>): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env };
  delete env.DATABASE_URL;
  for (const name of Object.keys(values)) {
    if (name.endsWith('_FILE')) delete env[name.slice(0, -'_FILE'.length)];
  }
  return { ...env, ...values };
}

/** Throws unless the process answers `/readyz` with 200. */
export async function requireReady(url: string, timeoutMs = 2_000): Promise<void> {
  const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(timeoutMs) });
  const text = await response.text();
  if (!response.ok) throw new Error(`/readyz answered ${response.status}: ${text.slice(0, 300)}`);
}
