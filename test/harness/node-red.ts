/** A real Node-RED for a test file, driven by its admin API. */
import { randomBytes } from 'node:crypto';
import { createNodeRedPart } from '../../bin/parts/node-red.ts';
import { findFreePort } from '../../bin/stack/ports.ts';
import { startPart } from './part-folder.ts';
import { testPart } from './tools.ts';

export interface TestNodeRed {
  port: number;
  url: string;
  password: string;
  dir: string;
  /** A call of the admin API; throws for a refusal. Gives the JSON answer, or the text of another one. */
  admin(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Replaces all flows; they start a moment after it resolves. */
  deploy(flows: readonly object[]): Promise<void>;
  /** Presses an inject node's button. */
  inject(nodeId: string): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Takes about 3 s: start it in beforeAll. `packages` are folders of node packages. */
export async function startNodeRed(options: { packages?: readonly string[] } = {}): Promise<TestNodeRed> {
  const tools = await testPart('nodeRed');
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;
  const password = randomBytes(16).toString('hex');
  const life = await startPart('node-red', (dir) =>
    createNodeRedPart({ tools, dir, port, password, ...options }),
  );

  async function admin(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(url + path, {
      method,
      headers: {
        Authorization: `Bearer ${password}`,
        Accept: 'application/json',
        'Node-RED-API-Version': 'v2',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 500)}`);
    return /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : text;
  }

  return {
    port,
    url,
    password,
    dir: life.dir,
    admin,
    deploy: async (flows) => void (await admin('POST', '/flows', { flows })),
    inject: async (nodeId) => void (await admin('POST', `/inject/${nodeId}`)),
    restart: life.restart,
    stop: life.stop,
  };
}
