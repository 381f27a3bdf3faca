/** Everything that can be set on a conductor, from the environment. */
import { type QuotaLimits, readQuotaDefaults } from '../common/db/quota-limits.ts';
import { createEnvReader, type Env } from '../common/runtime/config.ts';
import { type LogLevel, logLevels } from '../common/runtime/logger.ts';

export interface ConductorConfig {
  databaseUrl: string;
  host: string;
  port: number;
  rules: Rules;
  /** Of tenants that have no limits of their own. */
  quotas: QuotaLimits;
  logLevel: LogLevel;
}

/** What the tasks go by; the same for every conductor of an installation. */
export interface Rules {
  /** Days of readings that are kept; a tenant may have fewer. */
  retentionDays: number;
  auditDays: number;
}

/**
 * | variable | default | |
 * |---|---|---|
 * | `DATABASE_URL` | required | |
 * | `BOARDWALK_CONDUCTOR_HOST`, `_PORT` | 127.0.0.1, 0 | health and metrics; 0 = any free port |
 * | `BOARDWALK_RETENTION_DAYS` | 400 | days of readings that are kept |
 * | `BOARDWALK_AUDIT_DAYS` | 400 | days of audit rows that are kept |
 * | `BOARDWALK_QUOTA_…` | none | limits of tenants that have none of their own, see docs/operations.md |
 * | `BOARDWALK_LOG_LEVEL` | info | |
 *
 * Each may be given as `<NAME>_FILE`. Throws ConfigError with every fault at once.
 */
export function readConfig(env: Env): ConductorConfig {
  const reader = createEnvReader(env);
  const days = { min: 1, max: 36_500 };
  const config: ConductorConfig = {
    databaseUrl: reader.required('DATABASE_URL'),
    host: reader.string('BOARDWALK_CONDUCTOR_HOST', '127.0.0.1'),
    port: reader.integer('BOARDWALK_CONDUCTOR_PORT', 0, { min: 0, max: 65_535 }),
    rules: {
      retentionDays: reader.integer('BOARDWALK_RETENTION_DAYS', 400, days),
      auditDays: reader.integer('BOARDWALK_AUDIT_DAYS', 400, days),
    },
    quotas: readQuotaDefaults(reader),
    logLevel: reader.oneOf('BOARDWALK_LOG_LEVEL', logLevels, 'info'),
  };
  reader.finish();
  return config;
}
