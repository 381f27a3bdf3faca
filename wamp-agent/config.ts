/** Everything that can be set on a wamp-agent, from the environment. */
import { type QuotaLimits, readQuotaDefaults } from '../common/db/quota-limits.ts';
import { createEnvReader, type Env } from '../common/runtime/config.ts';
import { type LogLevel, logLevels } from '../common/runtime/logger.ts';
import { realmDefault } from '../common/wamp/uris.ts';

export interface AgentConfig {
  databaseUrl: string;
  databasePool: number;
  router: { socketPath: string; realm: string; ticket: string };
  cell: string;
  relay: { host: string; port: number; advertisedUrl: string | undefined; key: string };
  /** Public router URLs that boards of this cell are told. */
  boardUrls: string[];
  settings: SettingsConfig;
  /** Calls in progress on one board; the next one is refused. */
  callsPerBoard: number;
  /** Proxies in front of the router whose X-Forwarded-For is believed. */
  trustedProxies: string[];
  artifacts: {
    /** Shared with api, conductor and the other wamp-agents; undefined: files are refused. */
    dir: string | undefined;
    /** How long they are kept. */
    days: number;
  };
  /** Of tenants that have no limit of their own. */
  quotas: QuotaLimits;
  logLevel: LogLevel;
}

export interface SettingsConfig {
  /** How long a board collects readings before it sends them. */
  batchIntervalMs: number;
  /** The same while somebody watches the board. */
  liveBatchIntervalMs: number;
  /** At the least; it grows with the boards of the cell. */
  heartbeatIntervalMs: number;
  /** Fixed window for the first reconnect; undefined = by the boards of the cell. */
  reconnectSpreadMs: number | undefined;
}

/**
 * | variable | default | |
 * |---|---|---|
 * | `DATABASE_URL` | required | |
 * | `BOARDWALK_DATABASE_POOL` | 10 | connections to the database at the most |
 * | `BOARDWALK_ROUTER_SOCKET` | required | Unix socket of the router's RawSocket endpoint |
 * | `BOARDWALK_AGENT_TICKET` | required | ticket of the router's principal `agent` |
 * | `BOARDWALK_REALM` | s4t | |
 * | `BOARDWALK_CELL` | default | name of the router with its agents |
 * | `BOARDWALK_RELAY_HOST`, `_PORT` | 127.0.0.1, 0 | 0 = any free port |
 * | `BOARDWALK_RELAY_URL` | host and port | under which api and conductor reach the relay |
 * | `BOARDWALK_RELAY_KEY` | required | shared with api and conductor, 16 characters or more |
 * | `BOARDWALK_BOARD_URLS` | required | comma list of the router's public URLs |
 * | `BOARDWALK_BATCH_INTERVAL_MS` | 5000 | |
 * | `BOARDWALK_LIVE_BATCH_INTERVAL_MS` | 1000 | |
 * | `BOARDWALK_HEARTBEAT_INTERVAL_MS` | 10000 | |
 * | `BOARDWALK_RECONNECT_SPREAD_MS` | by boards | |
 * | `BOARDWALK_CALLS_PER_BOARD` | 16 | |
 * | `BOARDWALK_TRUSTED_PROXIES` | none | comma list of addresses |
 * | `BOARDWALK_ARTIFACT_DIR` | none | files of operations; shared with api, conductor and other agents |
 * | `BOARDWALK_ARTIFACT_DAYS` | 30 | days that they are kept |
 * | `BOARDWALK_QUOTA_READINGS_PER_DAY` | none | readings that a tenant may store per day of UTC |
 * | `BOARDWALK_LOG_LEVEL` | info | |
 *
 * Each may be given as `<NAME>_FILE`. Throws ConfigError with every fault at once.
 */
export function readConfig(env: Env): AgentConfig {
  const reader = createEnvReader(env);
  const interval = { min: 100, max: 3_600_000 };
  const spread = reader.integer('BOARDWALK_RECONNECT_SPREAD_MS', -1, { min: 0, max: 3_600_000 });
  const config: AgentConfig = {
    databaseUrl: reader.required('DATABASE_URL'),
    databasePool: reader.integer('BOARDWALK_DATABASE_POOL', 10, { min: 2, max: 200 }),
    router: {
      socketPath: reader.required('BOARDWALK_ROUTER_SOCKET'),
      realm: reader.string('BOARDWALK_REALM', realmDefault),
      ticket: reader.required('BOARDWALK_AGENT_TICKET'),
    },
    cell: reader.string('BOARDWALK_CELL', 'default'),
    relay: {
      host: reader.string('BOARDWALK_RELAY_HOST', '127.0.0.1'),
      port: reader.integer('BOARDWALK_RELAY_PORT', 0, { min: 0, max: 65_535 }),
      advertisedUrl: reader.optional('BOARDWALK_RELAY_URL'),
      key: reader.required('BOARDWALK_RELAY_KEY'),
    },
    boardUrls: reader.list('BOARDWALK_BOARD_URLS', []),
    settings: {
      batchIntervalMs: reader.integer('BOARDWALK_BATCH_INTERVAL_MS', 5000, interval),
      liveBatchIntervalMs: reader.integer('BOARDWALK_LIVE_BATCH_INTERVAL_MS', 1000, interval),
      heartbeatIntervalMs: reader.integer('BOARDWALK_HEARTBEAT_INTERVAL_MS', 10_000, interval),
      reconnectSpreadMs: spread < 0 ? undefined : spread,
    },
    callsPerBoard: reader.integer('BOARDWALK_CALLS_PER_BOARD', 16, { min: 1, max: 1000 }),
    trustedProxies: reader.list('BOARDWALK_TRUSTED_PROXIES', []),
    artifacts: {
      dir: reader.optional('BOARDWALK_ARTIFACT_DIR'),
      days: reader.integer('BOARDWALK_ARTIFACT_DAYS', 30, { min: 1, max: 36_500 }),
    },
    quotas: readQuotaDefaults(reader),
    logLevel: reader.oneOf('BOARDWALK_LOG_LEVEL', logLevels, 'info'),
  };
  if (config.boardUrls.length === 0 || !config.boardUrls.every((url) => /^wss?:\/\//.test(url)))
    reader.fault('BOARDWALK_BOARD_URLS must list one or more ws:// or wss:// URLs');
  if (config.relay.key !== '' && config.relay.key.length < 16)
    reader.fault('BOARDWALK_RELAY_KEY must have 16 characters or more');
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$/.test(config.cell))
    reader.fault('BOARDWALK_CELL must have 1 to 60 letters, digits, dots, dashes or underscores');
  reader.finish();
  return config;
}
