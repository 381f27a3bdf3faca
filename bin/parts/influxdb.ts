/** An InfluxDB 1.x of its own, on loopback. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { InfluxdbTools } from '../setup/parts.ts';
import type { Part } from '../stack/supervisor.ts';

export interface InfluxdbOptions {
  tools: InfluxdbTools;
  dir: string;
  /** HTTP. */
  port: number;
  /** Its backup service: it can't be switched off, only moved. */
  rpcPort: number;
  /** Ask for user and password; the first user has to be made before anything else works. */
  auth?: boolean;
}

export async function createInfluxdbPart(options: InfluxdbOptions): Promise<Part> {
  const { tools, dir, port, rpcPort, auth = false } = options;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const config = join(dir, 'influxdb.conf');
  await writeFile(
    config,
    [
      'reporting-disabled = true',
      `bind-address = "127.0.0.1:${rpcPort}"`,
      '[meta]',
      `dir = "${join(dir, 'meta')}"`,
      '[data]',
      `dir = "${join(dir, 'data')}"`,
      `wal-dir = "${join(dir, 'wal')}"`,
      'query-log-enabled = false',
      '[monitor]',
      'store-enabled = false',
      '[http]',
      `bind-address = "127.0.0.1:${port}"`,
      `auth-enabled = ${auth}`,
      'log-enabled = false',
      '',
    ].join('\n'),
    { mode: 0o600 },
  );
  return {
    name: 'influxdb',
    command: tools.influxd,
    args: ['-config', config],
    env: { ...process.env, ...tools.env, HOME: dir },
    ready: () => ping(port),
  };
}

async function ping(port: number): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/ping`, { signal: AbortSignal.timeout(2_000) });
  if (response.status !== 204) throw new Error(`InfluxDB answers ${response.status}`);
}
