/** Node-RED of the demonstrator: the shipped flow, with a key of its own. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asArray, asObject, type JsonObject } from '../../common/runtime/guards.ts';
import { createNodeRedPart } from '../parts/node-red.ts';
import type { NodeRedTools } from '../setup/node-red.ts';
import { repositoryRoot } from '../stack/settings.ts';
import type { Part } from '../stack/supervisor.ts';

export interface NodeRedOptions {
  tools: NodeRedTools;
  home: string;
  port: number;
  password: string;
}

/** Ids in examples/slow-control/node-red-flows.json. */
const flowIds = { tab: 'slow-control', server: 'slow-control-server' } as const;

export function createEditorPart({ home, ...options }: NodeRedOptions): Promise<Part> {
  return createNodeRedPart({
    ...options,
    dir: join(home, 'node-red'),
    packages: [join(repositoryRoot, 'integrations/node-red-contrib-boardwalk')],
  });
}

/** Brings the shipped flow unless it is there (who changes it keeps the changes), and where the API is now. */
export async function deployFlows(
  { port, password }: NodeRedOptions,
  server: { apiUrl: string; apiKey: string },
): Promise<void> {
  const call = async (method: string, body?: object): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}/flows`, {
      method,
      headers: {
        Authorization: `Bearer ${password}`,
        'Node-RED-API-Version': 'v2',
        'Content-Type': 'application/json',
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`Node-RED refuses its flows: ${response.status} ${text.slice(0, 300)}`);
    return JSON.parse(text);
  };
  const there = nodesOf(asObject(await call('GET'), 'flows').flows);
  const shipped = nodesOf(
    JSON.parse(await readFile(join(repositoryRoot, 'examples/slow-control/node-red-flows.json'), 'utf8')),
  );
  const isThere = there.some(({ id }) => id === flowIds.tab);
  const nodes = (isThere ? there : [...there, ...shipped]).map((node) =>
    node.id === flowIds.server
      ? { ...node, url: server.apiUrl, credentials: { apiKey: server.apiKey } }
      : node,
  );
  await call('POST', { flows: nodes });
}

function nodesOf(value: unknown): JsonObject[] {
  return asArray(value, 'flows', { max: 10_000 }).map((node) => asObject(node, 'node'));
}
