import { Histogram, type Registry } from 'prom-client';

export interface RpcMetrics {
  /** `outcome`: `ok` or the error code. */
  observe(outcome: string, durationMs: number): void;
}

export function createRpcMetrics(registry: Registry): RpcMetrics {
  const seconds = new Histogram({
    name: 'boardwalk_rpc_seconds',
    help: 'Calls of procedures on boards, from the arrival of the request, by outcome',
    labelNames: ['outcome'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers: [registry],
  });
  return { observe: (outcome, durationMs) => seconds.labels(outcome).observe(durationMs / 1000) };
}
