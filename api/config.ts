import { isIP } from 'node:net';
import { parseDatabaseUrl } from '../common/db/database-url.ts';
import { type QuotaLimits, readQuotaDefaults } from '../common/db/quota-limits.ts';
import { messageOf } from '../common/runtime/app-error.ts';
import { createEnvReader, type Env } from '../common/runtime/config.ts';
import { type LogLevel, logLevels } from '../common/runtime/logger.ts';
import { readSinkConfig, type SinkConfig } from '../common/sinks/config.ts';
import { realmDefault } from '../common/wamp/uris.ts';
import { readWebhookConfig, type WebhookConfig } from '../common/webhooks/config.ts';

export interface ApiConfig {
  databaseUrl: string;
  host: string;
  port: number;
  /** Bearer token towards the relays of the wamp-agents. */
  relayKey: string;
  /** Public router URL, told to who enrols a board. */
  wampUrl: string | undefined;
  realm: string;
  /** How clients reach this API; https makes cookies `Secure`. */
  publicUrl: string | undefined;
  /** Express' `trust proxy`: addresses of reverse proxies whose X-Forwarded-For counts. */
  trustedProxies: string[];
  /** Of tenants that have no limits of their own. */
  quotas: QuotaLimits;
  /** Where files of operations are, shared with conductor and wamp-agents; none = downloads are refused. */
  artifactDir: string | undefined;
  webhooks: WebhookConfig;
  sinks: SinkConfig;
  logLevel: LogLevel;
}

/** Throws ConfigError with every fault at once. */
export function loadApiConfig(env: Env): ApiConfig {
  const reader = createEnvReader(env);
  const databaseUrl = reader.required('DATABASE_URL');
  const relayKey = reader.required('BOARDWALK_RELAY_KEY');
  const webhooks = readWebhookConfig(reader, relayKey);
  const config: ApiConfig = {
    databaseUrl,
    host: reader.string('BOARDWALK_API_HOST', '127.0.0.1'),
    port: reader.integer('BOARDWALK_API_PORT', 8812, { min: 0, max: 65_535 }),
    relayKey,
    wampUrl: reader.optional('BOARDWALK_WAMP_URL'),
    realm: reader.string('BOARDWALK_REALM', realmDefault),
    publicUrl: reader.optional('BOARDWALK_PUBLIC_URL'),
    trustedProxies: reader.list('BOARDWALK_TRUSTED_PROXIES', []),
    quotas: readQuotaDefaults(reader),
    artifactDir: reader.optional('BOARDWALK_ARTIFACT_DIR'),
    webhooks,
    sinks: readSinkConfig(reader, webhooks),
    logLevel: reader.oneOf('BOARDWALK_LOG_LEVEL', logLevels, 'info'),
  };
  for (const fault of faultsOf(config)) reader.fault(fault);
  reader.finish();
  return config;
}

function* faultsOf({ databaseUrl, wampUrl, publicUrl, trustedProxies }: ApiConfig): Iterable<string> {
  try {
    if (databaseUrl !== '') parseDatabaseUrl(databaseUrl);
  } catch (error) {
    yield messageOf(error);
  }
  if (wampUrl !== undefined && !isUrl(wampUrl, ['ws:', 'wss:']))
    yield 'BOARDWALK_WAMP_URL must be a ws or wss URL';
  if (publicUrl !== undefined && !isUrl(publicUrl, ['http:', 'https:']))
    yield 'BOARDWALK_PUBLIC_URL must be an http or https URL';
  for (const proxy of trustedProxies.filter((each) => !isProxy(each)))
    yield `BOARDWALK_TRUSTED_PROXIES must list addresses, networks, loopback, linklocal or uniquelocal, not '${proxy}'`;
}

function isUrl(text: string, protocols: readonly string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol);
}

/** What Express takes; it would end the process over anything else. */
function isProxy(text: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(text)) return true;
  const [address = '', bits, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}
