/** The gateway of `npm start`: live readings without any hardware. */
import { existsSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApiClient } from './api-client.ts';
import { createGatewayPart } from './gateway.ts';
import type { Part } from './supervisor.ts';

export const demoBoardName = 'demo-gateway';

export interface DemoOptions {
  home: string;
  wampUrl: string;
  tenant: string;
  /** A client that may create boards in the tenant. */
  api: ApiClient;
  signal?: AbortSignal;
}

const settings = join(import.meta.dirname, 'demo-settings.json');

export function createDemoPart({ home, ...options }: DemoOptions): Promise<Part> {
  return createGatewayPart({
    ...options,
    name: demoBoardName,
    state: join(home, 'demo-board'),
    async writeSettings(state) {
      // Once: who plays with it keeps the changes.
      const own = join(state, 'settings.json');
      if (!existsSync(own)) await copyFile(settings, own);
    },
  });
}
