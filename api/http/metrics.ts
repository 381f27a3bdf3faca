/** Figures for Prometheus. Labels are bounded: operationIds and statuses, never ids or names of tenants. */
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export interface ApiMetrics {
  registry: Registry;
  observeRequest(operationId: string, status: number, durationMs: number): void;
  countDatabaseRetry(kind: string): void;
}

export function createApiMetrics(): ApiMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'boardwalk_http_request_duration_seconds',
    help: 'Time from the request to the end of its answer',
    labelNames: ['operation', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
  const retries = new Counter({
    name: 'boardwalk_database_retries_total',
    help: 'Database work that was run again, by the kind of fault',
    labelNames: ['kind'],
    registers: [registry],
  });
  return {
    registry,
    observeRequest: (operation, status, durationMs) =>
      requests.observe({ operation, status: String(status) }, durationMs / 1000),
    countDatabaseRetry: (kind) => retries.inc({ kind }),
  };
}
