/** What the demonstrator has set up in Boardwalk itself, once: a key, a sink, an alarm rule. All by its API. */
import { join } from 'node:path';
import { asString } from '../../common/runtime/guards.ts';
import type { AdminAccess } from '../stack/access.ts';
import { type ApiClient, ApiRefusal, createApiClient } from '../stack/api-client.ts';
import { readJsonFile, writePrivateFile } from '../stack/private-files.ts';
import { boardName } from './gateway.ts';
import { influxDatabase, influxUser } from './influxdb.ts';

/** A client of the installation's admin. */
export async function loginAsAdmin({ apiUrl, username, password }: AdminAccess): Promise<ApiClient> {
  const login = await createApiClient(apiUrl).request('POST', '/v1/auth/login', { username, password });
  return createApiClient(apiUrl, asString(login.token, 'token', { max: 500 }));
}

/** Node-RED's key: it may switch and set, and sees this board alone. Kept as long as it works. */
export async function nodeRedKey(api: ApiClient, access: AdminAccess, home: string): Promise<string> {
  const path = join(home, 'secrets/node-red-key.json');
  const kept = await readJsonFile(path);
  if (typeof kept === 'string' && (await works(access.apiUrl, kept))) return kept;
  const made = await api.request('POST', `/v1/tenants/${access.tenant}/api-keys`, {
    name: `node-red ${new Date().toISOString()}`,
    role: 'manager_iot_project',
    boards: [boardName],
    procedures: ['hv.*', 'lv.*'],
  });
  const key = asString(made.key, 'key', { max: 500 });
  await writePrivateFile(path, JSON.stringify(key));
  return key;
}

async function works(apiUrl: string, key: string): Promise<boolean> {
  try {
    await createApiClient(apiUrl, key).request('GET', '/v1/me');
    return true;
  } catch (error) {
    if (error instanceof ApiRefusal && error.status === 401) return false;
    throw error;
  }
}

/** Lets the sensor in, which offers no commands and is so unknown to the gateway's settings. */
export async function acceptSensor(api: ApiClient): Promise<void> {
  const modules = `/v1/boards/${boardName}/modules`;
  if (await api.find(`${modules}/sensor`)) return;
  await api.request('POST', modules, { name: 'sensor', description: 'The dummy sensor', state: 'accepted' });
}

/** The sensor never reaches this by itself: it measures at most 1. */
export const interlockThreshold = 1.5;
const interlockName = 'hv-interlock';

/** Sensor over the limit: every HV channel goes off, without anybody being asked. */
export async function createInterlock(api: ApiClient, tenant: string): Promise<void> {
  if (await api.find(`/v1/alarm-rules/${interlockName}`)) return;
  await api.request('POST', '/v1/alarm-rules', {
    tenant,
    name: interlockName,
    severity: 'critical',
    target: { boards: [boardName] },
    stream: 'sensor/meas2',
    condition: { above: { threshold: interlockThreshold } },
    action: { procedure: 'hv.off', delivery: 'now', deadlineSeconds: 10 },
  });
}

const sinkName = 'slow-control-influxdb';

/** Every reading of the tenant goes on to InfluxDB. */
export async function createInfluxSink(
  api: ApiClient,
  tenant: string,
  influx: { port: number; password: string },
): Promise<void> {
  if (await api.find(`/v1/sinks/${sinkName}`)) return;
  await api.request('POST', '/v1/sinks', {
    tenant,
    name: sinkName,
    kind: 'influx',
    settings: {
      api: 'v1',
      url: `http://127.0.0.1:${influx.port}`,
      database: influxDatabase,
      username: influxUser,
    },
    secrets: { password: influx.password },
  });
}
