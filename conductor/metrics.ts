import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { TaskOutcome } from './task-runs.ts';

export interface ConductorMetrics {
  registry: Registry;
  recordRun(run: { task: string; outcome: TaskOutcome | 'lost'; seconds: number }): void;
  databaseRetries: Counter<'kind'>;
  /** Closed hours that wait to be rolled. */
  dirtyHours: Gauge;
  /** Days that readings may be dated ahead before they find no partition. */
  partitionDaysAhead: Gauge;
}

export function createMetrics(): ConductorMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const runs = new Histogram({
    name: 'boardwalk_conductor_task_seconds',
    help: 'Runs of tasks by this conductor',
    labelNames: ['task', 'outcome'],
    buckets: [0.01, 0.05, 0.25, 1, 5, 20, 60],
    registers,
  });
  return {
    registry,
    recordRun: ({ task, outcome, seconds }) => runs.observe({ task, outcome }, seconds),
    databaseRetries: new Counter({
      name: 'boardwalk_database_retries_total',
      help: 'Statements and transactions that were run again',
      labelNames: ['kind'],
      registers,
    }),
    dirtyHours: new Gauge({
      name: 'boardwalk_rollup_backlog_hours',
      help: 'Hours of streams that are over and not rolled up, as of the last run here',
      registers,
    }),
    partitionDaysAhead: new Gauge({
      name: 'boardwalk_partition_days_ahead',
      help: 'Days that the partitions of readings reach ahead, as of the last run here',
      registers,
    }),
  };
}
