/**
 * Figures for Prometheus. Each process has one table of them, made with this. The registry is the table's
 * own, so that several fit in one test process. Labels are bounded, and hold no names that users give.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface Meter {
  registry: Registry;
  counter<L extends string = never>(name: string, help: string, labels?: readonly L[]): Counter<L>;
  gauge<L extends string = never>(name: string, help: string, labels?: readonly L[]): Gauge<L>;
  /** Of seconds, in buckets with these upper bounds. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: readonly L[],
  ): Histogram<L>;
}

/** With the figures of the process itself. @param prefix of every name but of those */
export function createMeter(prefix: string): Meter {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const settings = <L extends string>(name: string, help: string, labels: readonly L[]) => ({
    name: prefix + name,
    help,
    labelNames: labels,
    registers: [registry],
  });
  return {
    registry,
    counter: (name, help, labels = []) => new Counter(settings(name, help, labels)),
    gauge: (name, help, labels = []) => new Gauge(settings(name, help, labels)),
    histogram: (name, help, buckets, labels = []) =>
      new Histogram({ ...settings(name, help, labels), buckets: [...buckets] }),
  };
}

/** Upper bounds of what a caller waits for, in seconds. */
export const latencyBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
] as const;
