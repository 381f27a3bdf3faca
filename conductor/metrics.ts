import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type AlarmMetrics, createAlarmMetrics } from './alarms/alarm-metrics.ts';
import type { EngineObserver } from './engine/settings.ts';
import type { SinkStanding } from './sinks/standings.ts';
import type { SinkObserver } from './sinks/worker.ts';
import type { TaskOutcome } from './task-runs.ts';

export interface ConductorMetrics {
  registry: Registry;
  recordRun(run: { task: string; outcome: TaskOutcome | 'lost'; seconds: number }): void;
  databaseRetries: Counter<'kind'>;
  /** Closed hours that wait to be rolled. */
  dirtyHours: Gauge;
  /** Days that readings may be dated ahead before they find no partition. */
  partitionDaysAhead: Gauge;
  /** Boards that are called by this conductor at the moment. */
  operationsInFlight: Gauge;
  /** Boards whose turn it is and that nobody has taken, of the first 10,000 in the queue. */
  queueDepth: Gauge<'lane'>;
  engine: EngineObserver;
  /** Due times of schedules, by what became of them. */
  scheduleRuns: Counter<'outcome'>;
  /** Attempts of webhooks, by what came of them. */
  webhookAttempts: Histogram<'outcome'>;
  webhooksDisabled: Counter;
  /** How far the outboxes of webhooks are behind the events. */
  webhookLagSeconds: Gauge;
  alarms: AlarmMetrics;
  /** What became of everything that came in; counts of FlowCounts, and their difference. */
  flow: Gauge<'hop' | 'count'>;
  sinks: SinkObserver;
  /** Of all sinks, in place of what was set before. */
  setSinks(sinks: readonly SinkStanding[]): void;
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
  const claims = new Histogram({
    name: 'boardwalk_operations_claim_seconds',
    help: 'Transactions that took boards and put their dispatches on record',
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    registers,
  });
  const commits = new Histogram({
    name: 'boardwalk_operations_record_seconds',
    help: 'Transactions that wrote outcomes, of many boards each',
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
    registers,
  });
  const claimed = new Counter({
    name: 'boardwalk_operations_claimed_boards_total',
    help: 'Boards that were taken',
    registers,
  });
  const dispatched = new Counter({
    name: 'boardwalk_operations_dispatches_total',
    help: 'Deliveries of operations to boards',
    registers,
  });
  const outcomes = new Counter({
    name: 'boardwalk_operations_outcomes_total',
    help: 'What came of calls: states, no-answer, not-delivered, retry, …',
    labelNames: ['outcome'],
    registers,
  });
  const sinkPoints = new Counter({
    name: 'boardwalk_sink_points_total',
    help: 'Points that this conductor dealt with',
    labelNames: ['kind', 'outcome'],
    registers,
  });
  const sinkWrites = new Histogram({
    name: 'boardwalk_sink_write_seconds',
    help: 'Batches written to targets of sinks',
    labelNames: ['kind', 'outcome'],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  });
  const ofSink = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['sink', 'kind'], registers });
  const sinkGauges = {
    waiting: ofSink('boardwalk_sink_waiting_readings', 'Readings that wait for a sink'),
    lagSeconds: ofSink('boardwalk_sink_lag_seconds', 'How long the oldest of them has waited'),
    deadLetters: ofSink('boardwalk_sink_dead_letters', 'Points that a sink refused and that are kept'),
    lost: ofSink('boardwalk_sink_lost_readings', 'Readings that were given up: the sink was too far behind'),
  };
  return {
    registry,
    sinks: {
      onPoints: (kind, outcome, points) => sinkPoints.inc({ kind, outcome }, points),
      onWrite: (kind, outcome, seconds) => sinkWrites.observe({ kind, outcome }, seconds),
    },
    setSinks(sinks) {
      for (const gauge of Object.values(sinkGauges)) gauge.reset();
      for (const { id, kind, ...values } of sinks)
        for (const [name, gauge] of Object.entries(sinkGauges))
          gauge.set({ sink: id, kind }, values[name as keyof typeof sinkGauges]);
    },
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
    webhookAttempts: new Histogram({
      name: 'boardwalk_webhook_attempt_seconds',
      help: 'Requests of webhooks that this conductor made',
      labelNames: ['outcome'],
      buckets: [0.05, 0.25, 1, 5, 10],
      registers,
    }),
    webhooksDisabled: new Counter({
      name: 'boardwalk_webhooks_disabled_total',
      help: 'Webhooks that were disabled here, because they had only failed for long',
      registers,
    }),
    webhookLagSeconds: new Gauge({
      name: 'boardwalk_webhook_lag_seconds',
      help: 'How far the outboxes of webhooks were behind the events, as of the last run here',
      registers,
    }),
    alarms: createAlarmMetrics(registers),
    flow: new Gauge({
      name: 'boardwalk_flow',
      help: 'received = stored + duplicate + rejected + waiting at each hop, as of the last run here',
      labelNames: ['hop', 'count'],
      registers,
    }),
    scheduleRuns: new Counter({
      name: 'boardwalk_schedule_runs_total',
      help: 'Due times of schedules that this conductor dealt with',
      labelNames: ['outcome'],
      registers,
    }),
    partitionDaysAhead: new Gauge({
      name: 'boardwalk_partition_days_ahead',
      help: 'Days that the partitions of readings reach ahead, as of the last run here',
      registers,
    }),
    operationsInFlight: new Gauge({
      name: 'boardwalk_operations_in_flight',
      help: 'Boards that are called at the moment',
      registers,
    }),
    queueDepth: new Gauge({
      name: 'boardwalk_operations_queue_depth',
      help: 'Boards whose turn it is and that nobody has taken; of the first 10,000 in the queue',
      labelNames: ['lane'],
      registers,
    }),
    engine: {
      onClaim(boards, dispatches, seconds) {
        claims.observe(seconds);
        claimed.inc(boards);
        dispatched.inc(dispatches);
      },
      onGoOn: (dispatches) => dispatched.inc(dispatches),
      onOutcome: (outcome) => outcomes.inc({ outcome }),
      onCommit: (seconds) => commits.observe(seconds),
    },
  };
}
