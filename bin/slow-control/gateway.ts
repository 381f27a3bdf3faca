/** The gateway of the demonstrator: examples/slow-control/gateway.json, with where its broker is. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asArray, asObject } from '../../common/runtime/guards.ts';
import type { ApiClient } from '../stack/api-client.ts';
import { createGatewayPart } from '../stack/gateway.ts';
import { writePrivateFile } from '../stack/private-files.ts';
import { repositoryRoot } from '../stack/settings.ts';
import type { Part } from '../stack/supervisor.ts';

export const boardName = 'slow-control';

export interface SlowControlGatewayOptions {
  home: string;
  wampUrl: string;
  tenant: string;
  api: ApiClient;
  mqttPort: number;
  passwordFile: string;
  signal?: AbortSignal;
}

export function createSlowControlGateway(options: SlowControlGatewayOptions): Promise<Part> {
  const { home, mqttPort, passwordFile, ...rest } = options;
  return createGatewayPart({
    ...rest,
    name: boardName,
    state: join(home, 'gateway'),
    async writeSettings(state) {
      const text = await readFile(join(repositoryRoot, 'examples/slow-control/gateway.json'), 'utf8');
      const settings = asObject(JSON.parse(text), 'gateway.json');
      const sources = asArray(settings.sources, 'sources', { max: 100 }).map((value) => {
        const source = asObject(value, 'source');
        if (source.kind !== 'mqtt') return source;
        return { ...source, urls: [`mqtt://127.0.0.1:${mqttPort}`], username: 'gateway', passwordFile };
      });
      await writePrivateFile(
        join(state, 'settings.json'),
        `${JSON.stringify({ ...settings, sources }, null, 2)}\n`,
      );
    },
  });
}
