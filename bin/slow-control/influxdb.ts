/** InfluxDB of the demonstrator: one login, one database. */
import { join } from 'node:path';
import { createInfluxdbPart } from '../parts/influxdb.ts';
import type { InfluxdbTools } from '../setup/parts.ts';
import { writePrivateFile } from '../stack/private-files.ts';
import type { Part } from '../stack/supervisor.ts';

export const influxDatabase = 'slow_control';
export const influxUser = 'boardwalk';

export interface InfluxOptions {
  tools: InfluxdbTools;
  home: string;
  port: number;
  rpcPort: number;
  password: string;
}

export function createInfluxPart({ home, password: _, ...options }: InfluxOptions): Promise<Part> {
  return createInfluxdbPart({ ...options, dir: join(home, 'influxdb'), auth: true });
}

/** Makes login and database, which may be there already. */
export async function prepareInflux({ home, port, password }: InfluxOptions): Promise<void> {
  // For `curl -K`: keeps the password out of command lines.
  await writePrivateFile(join(home, 'influx-curlrc'), `user = "${influxUser}:${password}"\n`);
  const login = Buffer.from(`${influxUser}:${password}`).toString('base64');
  const query = async (statement: string) => {
    const response = await fetch(`http://127.0.0.1:${port}/query`, {
      method: 'POST',
      headers: { Authorization: `Basic ${login}` },
      body: new URLSearchParams({ q: statement }),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    if (!response.ok || text.includes('"error"')) throw new Error(`InfluxDB refuses: ${text.slice(0, 300)}`);
  };
  // The only statement that it takes before there is an account.
  await query(`CREATE USER ${influxUser} WITH PASSWORD '${password}' WITH ALL PRIVILEGES`);
  await query(`CREATE DATABASE ${influxDatabase}`);
}
