/** What the environment says about the slow-control demonstrator; docs/slow-control.md lists the variables. */
import { join, resolve } from 'node:path';
import { createEnvReader, type Env } from '../../common/runtime/config.ts';
import { readSettings, repositoryRoot, type StackSettings } from '../stack/settings.ts';

export interface SlowControlSettings {
  stack: StackSettings;
  mqttPort: number;
  influxPort: number;
  /** Of InfluxDB's backup service, which can't be switched off. */
  influxRpcPort: number;
  nodeRedPort: number;
}

export function readSlowControlSettings(env: Env): SlowControlSettings {
  const reader = createEnvReader(env);
  const port = (name: string, fallback: number) => reader.integer(name, fallback, { min: 1, max: 65_535 });
  const home = resolve(reader.string('BOARDWALK_HOME', join(repositoryRoot, '.boardwalk/slow-control')));
  const stack = readSettings(reader, home);
  const toolsDir = resolve(reader.string('BOARDWALK_TOOLS', join(repositoryRoot, '.boardwalk/tools')));
  const settings: SlowControlSettings = {
    stack: {
      ...stack,
      toolsDir,
      // Its own gateway takes the place of the other demo.
      demo: false,
      // Whoever controls something wants to see within a second what it does.
      env: { BOARDWALK_BATCH_INTERVAL_MS: '1000' },
    },
    mqttPort: port('BOARDWALK_MQTT_PORT', 1883),
    influxPort: port('BOARDWALK_INFLUX_PORT', 8086),
    influxRpcPort: port('BOARDWALK_INFLUX_RPC_PORT', 8088),
    nodeRedPort: port('BOARDWALK_NODE_RED_PORT', 1880),
  };
  reader.finish();
  return settings;
}
