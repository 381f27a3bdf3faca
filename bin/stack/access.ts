/** `admin.json`: how people and scripts get in. Made through the API, and kept as long as it works. */
import { join } from 'node:path';
import { asObject, asString } from '../../common/runtime/guards.ts';
import { type ApiClient, ApiRefusal, createApiClient } from './api-client.ts';
import { readJsonFile, writePrivateFile } from './private-files.ts';
import { realm } from './settings.ts';

export interface AdminAccess {
  apiUrl: string;
  wampUrl: string;
  realm: string;
  username: string;
  password: string;
  /** Of the tenant `demo`, role admin_iot_project; with `apiKeyId` as authid also the ticket over WAMP. */
  apiKey: string;
  apiKeyId: string;
  tenant: string;
}

export const adminUsername = 'admin';
const tenantName = 'demo';

export async function readAccess(home: string): Promise<AdminAccess | undefined> {
  const path = join(home, 'admin.json');
  const value = await readJsonFile(path);
  if (value === undefined) return undefined;
  const object = asObject(value, path);
  const text = (name: string) => asString(object[name], `${path}: ${name}`, { max: 500 });
  return {
    apiUrl: text('apiUrl'),
    wampUrl: text('wampUrl'),
    realm: text('realm'),
    username: text('username'),
    password: text('password'),
    apiKey: text('apiKey'),
    apiKeyId: text('apiKeyId'),
    tenant: text('tenant'),
  };
}

export interface AccessOptions {
  home: string;
  apiUrl: string;
  wampUrl: string;
  password: string;
}

/** Logs in as admin; makes the tenant `demo` and an API key of it unless they are there. */
export async function setUpAccess(
  options: AccessOptions,
): Promise<{ access: AdminAccess; client: ApiClient }> {
  const { home, apiUrl, wampUrl, password } = options;
  const login = await createApiClient(apiUrl).request('POST', '/v1/auth/login', {
    username: adminUsername,
    password,
  });
  const client = createApiClient(apiUrl, asString(login.token, 'token', { max: 500 }));
  if ((await client.find(`/v1/tenants/${tenantName}`)) === undefined)
    await client.request('POST', '/v1/tenants', { name: tenantName });
  const key = (await findWorkingKey(home, apiUrl)) ?? (await createKey(client));
  const access: AdminAccess = {
    apiUrl,
    wampUrl,
    realm,
    username: adminUsername,
    password,
    ...key,
    tenant: tenantName,
  };
  await writePrivateFile(join(home, 'admin.json'), `${JSON.stringify(access, null, 2)}\n`);
  // For `curl -K`: keeps the key out of command lines.
  await writePrivateFile(join(home, 'curlrc'), `header = "Authorization: Bearer ${access.apiKey}"\n`);
  return { access, client };
}

type Key = Pick<AdminAccess, 'apiKey' | 'apiKeyId'>;

async function findWorkingKey(home: string, apiUrl: string): Promise<Key | undefined> {
  const kept = await readAccess(home);
  if (kept === undefined) return undefined;
  try {
    await createApiClient(apiUrl, kept.apiKey).request('GET', '/v1/me');
    return { apiKey: kept.apiKey, apiKeyId: kept.apiKeyId };
  } catch (error) {
    // Revoked, or the database is a new one.
    if (error instanceof ApiRefusal && error.status === 401) return undefined;
    throw error;
  }
}

async function createKey(client: ApiClient): Promise<Key> {
  const made = await client.request('POST', `/v1/tenants/${tenantName}/api-keys`, {
    name: `stack ${new Date().toISOString()}`,
    role: 'admin_iot_project',
  });
  return {
    apiKey: asString(made.key, 'key', { max: 500 }),
    apiKeyId: asString(made.id, 'id', { max: 100 }),
  };
}
