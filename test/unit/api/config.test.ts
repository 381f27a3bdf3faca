import { describe, expect, it } from 'vitest';
import { loadApiConfig } from '../../../api/config.ts';
import { ConfigError } from '../../../common/runtime/config.ts';

const good = { DATABASE_URL: 'mysql://u:secret@h/db', BOARDWALK_RELAY_KEY: 'k' };

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    loadApiConfig(env);
  } catch (error) {
    return error instanceof ConfigError ? error.faults : [String(error)];
  }
  return [];
}

describe('loadApiConfig', () => {
  it('has defaults that are reachable from this machine only', () => {
    expect(loadApiConfig(good)).toMatchObject({
      host: '127.0.0.1',
      port: 8812,
      realm: 's4t',
      trustedProxies: [],
    });
  });

  it('takes proxies as addresses, networks and names of networks', () => {
    const list = '10.0.0.1, 10.0.0.0/8,::1,fd00::/8,loopback';
    expect(loadApiConfig({ ...good, BOARDWALK_TRUSTED_PROXIES: list }).trustedProxies).toHaveLength(5);
  });

  it('reports every fault at once, and no password', () => {
    const faults = faultsOf({
      DATABASE_URL: 'postgres://u:secret@h/db',
      BOARDWALK_API_PORT: '99999',
      BOARDWALK_WAMP_URL: 'http://x',
      BOARDWALK_PUBLIC_URL: 'boardwalk',
      BOARDWALK_TRUSTED_PROXIES: 'true,10.0.0.0/33,1/2/3',
    });
    expect(faults).toHaveLength(8);
    expect(faults.join()).not.toContain('secret');
  });
});
