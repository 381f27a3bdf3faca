/** Everything that can be set on a conductor, from the environment. */

import type { OutboxLimits } from '../common/db/queries/outbox.ts';
import { type QuotaLimits, readQuotaDefaults } from '../common/db/quota-limits.ts';
import { createEnvReader, type Env } from '../common/runtime/config.ts';
import { type LogLevel, logLevels } from '../common/runtime/logger.ts';
import { readSinkConfig, type SinkConfig } from '../common/sinks/config.ts';
import { readWebhookConfig, type WebhookConfig } from '../common/webhooks/config.ts';
import type { LimitSettings } from './engine/limits.ts';

export interface ConductorConfig {
  databaseUrl: string;
  host: string;
  port: number;
  /** Shared with api and wamp-agent: for the relay, and for wakes. */
  relayKey: string;
  rules: Rules;
  /** Shared with api and wamp-agents; undefined = no artifacts are kept. */
  artifactDir: string | undefined;
  /** Of tenants that have no limits of their own. */
  quotas: QuotaLimits;
  /** `disableAfterMs`: a webhook that has only failed for so long is disabled. */
  webhooks: WebhookConfig & { disableAfterMs: number };
  sinks: SinkConfig;
  limits: LimitSettings;
  logLevel: LogLevel;
}

/** What the tasks go by; the same for every conductor of an installation. */
export interface Rules extends Retention {
  /** So long after its deadline a delivered target without news becomes `unknown`. */
  graceMs: number;
  /** Days that ended operations are kept. */
  operationDays: number;
  /** What may wait for one consumer of readings; beyond, the oldest are given up and counted. */
  outbox: OutboxLimits;
}

export interface Retention {
  /** Days of readings that are kept; a tenant may have fewer. */
  retentionDays: number;
  auditDays: number;
  /** Days that cleared alarms are kept. */
  alarmDays: number;
}

/**
 * | variable | default | |
 * |---|---|---|
 * | `DATABASE_URL` | required | |
 * | `BOARDWALK_RELAY_KEY` | required | shared with api and wamp-agent |
 * | `BOARDWALK_CONDUCTOR_HOST`, `_PORT` | 127.0.0.1, 0 | health and metrics; 0 = any free port |
 * | `BOARDWALK_RETENTION_DAYS` | 400 | days of readings that are kept |
 * | `BOARDWALK_AUDIT_DAYS` | 400 | days of audit rows that are kept |
 * | `BOARDWALK_ALARM_DAYS` | 90 | days that cleared alarms are kept |
 * | `BOARDWALK_QUOTA_…` | none | limits of tenants that have none of their own, see docs/operations.md |
 * | `BOARDWALK_ARTIFACT_DIR` | none | files of operations; shared with api and wamp-agents |
 * | `BOARDWALK_OPERATION_DAYS` | 90 | days that ended operations are kept |
 * | `BOARDWALK_OPERATIONS_IN_FLIGHT` | 200 | boards called at a time, by all conductors |
 * | `BOARDWALK_OPERATIONS_IN_FLIGHT_PER_TENANT` | 100 | the same for one tenant |
 * | `BOARDWALK_DRAIN_PER_SECOND` | 50 | boards per second whose operations waited for their return |
 * | `BOARDWALK_OPERATION_GRACE_SECONDS` | 60 | after its deadline, until an operation without news is unknown |
 * | `BOARDWALK_WEBHOOK_KEY` | the relay key | what secrets of webhooks are encrypted under |
 * | `BOARDWALK_WEBHOOK_ALLOW_PRIVATE` | 0 | 1: webhooks may lead to private and loopback addresses |
 * | `BOARDWALK_WEBHOOK_DISABLE_DAYS` | 3 | a webhook that has only failed for so long is disabled |
 * | `BOARDWALK_SINK_ALLOW_PRIVATE` | as webhooks | 1: sinks may lead to private and loopback addresses |
 * | `BOARDWALK_SINK_DIR` | none | where sinks of kind `file` write; of several conductors a shared one |
 * | `BOARDWALK_OUTBOX_READINGS` | 1000000 | readings that may wait for one sink; beyond, the oldest are lost |
 * | `BOARDWALK_OUTBOX_HOURS` | 72 | so long readings may wait for a sink |
 * | `BOARDWALK_LOG_LEVEL` | info | |
 *
 * Each may be given as `<NAME>_FILE`. Throws ConfigError with every fault at once.
 */
export function readConfig(env: Env): ConductorConfig {
  const reader = createEnvReader(env);
  const many = { min: 1, max: 100_000 };
  const days = { min: 1, max: 36_500 };
  const databaseUrl = reader.required('DATABASE_URL');
  const relayKey = reader.required('BOARDWALK_RELAY_KEY');
  const webhooks = readWebhookConfig(reader, relayKey);
  const config: ConductorConfig = {
    databaseUrl,
    relayKey,
    host: reader.string('BOARDWALK_CONDUCTOR_HOST', '127.0.0.1'),
    port: reader.integer('BOARDWALK_CONDUCTOR_PORT', 0, { min: 0, max: 65_535 }),
    rules: {
      retentionDays: reader.integer('BOARDWALK_RETENTION_DAYS', 400, days),
      auditDays: reader.integer('BOARDWALK_AUDIT_DAYS', 400, days),
      alarmDays: reader.integer('BOARDWALK_ALARM_DAYS', 90, days),
      operationDays: reader.integer('BOARDWALK_OPERATION_DAYS', 90, days),
      outbox: {
        readings: reader.integer('BOARDWALK_OUTBOX_READINGS', 1_000_000, { min: 1000, max: 1_000_000_000 }),
        ageSeconds: 3600 * reader.integer('BOARDWALK_OUTBOX_HOURS', 72, { min: 1, max: 8760 }),
      },
      graceMs: 1000 * reader.integer('BOARDWALK_OPERATION_GRACE_SECONDS', 60, { min: 0, max: 86_400 }),
    },
    artifactDir: reader.optional('BOARDWALK_ARTIFACT_DIR'),
    limits: {
      inFlight: reader.integer('BOARDWALK_OPERATIONS_IN_FLIGHT', 200, many),
      inFlightPerTenant: reader.integer('BOARDWALK_OPERATIONS_IN_FLIGHT_PER_TENANT', 100, many),
      drainPerSecond: reader.integer('BOARDWALK_DRAIN_PER_SECOND', 50, many),
    },
    quotas: readQuotaDefaults(reader),
    webhooks: {
      ...webhooks,
      disableAfterMs: 86_400_000 * reader.integer('BOARDWALK_WEBHOOK_DISABLE_DAYS', 3, days),
    },
    sinks: readSinkConfig(reader, webhooks),
    logLevel: reader.oneOf('BOARDWALK_LOG_LEVEL', logLevels, 'info'),
  };
  reader.finish();
  return config;
}
