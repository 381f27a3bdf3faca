/** The dummy devices as parts: programs of their own that know the broker and nothing else. */
import { join } from 'node:path';
import { childEnv } from '../stack/servers.ts';
import { repositoryRoot } from '../stack/settings.ts';
import type { Part } from '../stack/supervisor.ts';
import { deviceNames } from './broker.ts';

export interface DevicesOptions {
  mqttPort: number;
  passwordFiles: Record<(typeof deviceNames)[number], string>;
}

export function createDeviceParts({ mqttPort, passwordFiles }: DevicesOptions): Part[] {
  return deviceNames.map((name) => ({
    name,
    command: process.execPath,
    args: [join(repositoryRoot, `examples/slow-control/devices/${name}.ts`)],
    env: childEnv({
      MQTT_URL: `mqtt://127.0.0.1:${mqttPort}`,
      MQTT_USERNAME: name,
      MQTT_PASSWORD_FILE: passwordFiles[name],
    }),
    // Whether it is there is seen in its readings.
    ready: async () => undefined,
  }));
}
