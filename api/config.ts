import { createEnvReader, type Env } from '../common/runtime/config.ts';
import { type LogLevel, logLevels } from '../common/runtime/logger.ts';
import { realmDefault } from '../common/wamp/uris.ts';

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
  logLevel: LogLevel;
}

/** Throws ConfigError with every fault at once. */
export function loadApiConfig(env: Env): ApiConfig {
  const reader = createEnvReader(env);
  const config: ApiConfig = {
    databaseUrl: reader.required('DATABASE_URL'),
    host: reader.string('BOARDWALK_API_HOST', '127.0.0.1'),
    port: reader.integer('BOARDWALK_API_PORT', 8812, { min: 0, max: 65_535 }),
    relayKey: reader.required('BOARDWALK_RELAY_KEY'),
    wampUrl: reader.optional('BOARDWALK_WAMP_URL'),
    realm: reader.string('BOARDWALK_REALM', realmDefault),
    publicUrl: reader.optional('BOARDWALK_PUBLIC_URL'),
    trustedProxies: reader.list('BOARDWALK_TRUSTED_PROXIES', []),
    logLevel: reader.oneOf('BOARDWALK_LOG_LEVEL', logLevels, 'info'),
  };
  reader.finish();
  return config;
}
