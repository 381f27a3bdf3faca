import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../conductor/config.ts';

describe('the configuration of a conductor', () => {
  it('needs a database and the relay key, and has defaults for the rest', () => {
    expect(readConfig({ DATABASE_URL: 'mysql://u:p@h/s', BOARDWALK_RELAY_KEY: 'k' })).toEqual({
      databaseUrl: 'mysql://u:p@h/s',
      host: '127.0.0.1',
      port: 0,
      quotas: {},
      sinks: { key: 'k', allowPrivate: false, dir: undefined },
      webhooks: { key: 'k', allowPrivate: false, disableAfterMs: 3 * 86_400_000 },
      relayKey: 'k',
      rules: {
        retentionDays: 400,
        auditDays: 400,
        alarmDays: 90,
        operationDays: 90,
        outbox: { readings: 1_000_000, ageSeconds: 259_200 },
        graceMs: 60_000,
      },
      artifactDir: undefined,
      limits: { inFlight: 200, inFlightPerTenant: 100, drainPerSecond: 50 },
      logLevel: 'info',
    });
  });

  it('reports all faults at once', () => {
    expect(() => readConfig({ BOARDWALK_RETENTION_DAYS: '-1', BOARDWALK_LOG_LEVEL: 'loud' })).toThrow(
      /DATABASE_URL[\s\S]*BOARDWALK_RELAY_KEY[\s\S]*BOARDWALK_RETENTION_DAYS[\s\S]*BOARDWALK_LOG_LEVEL/,
    );
  });
});
