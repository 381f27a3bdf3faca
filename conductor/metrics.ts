/** What the conductor counts, and how its parts say what there is to count. */
import { createMeter } from '../common/runtime/metrics.ts';
import type { AlarmObserver } from './alarms/alarms.ts';
import type { EngineObserver } from './engine/settings.ts';
import type { SinkObserver } from './sinks/worker.ts';

export type ConductorMetrics = ReturnType<typeof createMetrics>;

const transactionBuckets = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** `as of the last run here`: of a task, which any conductor may have run since. */
export function createMetrics() {
  const { registry, counter, gauge, histogram } = createMeter('boardwalk_');
  return {
    registry,
    databaseRetries: counter('database_retries_total', 'Statements and transactions that were run again', [
      'kind',
    ]),
    taskSeconds: histogram(
      'conductor_task_seconds',
      'Runs of tasks by this conductor',
      [0.01, 0.05, 0.25, 1, 5, 20, 60],
      ['task', 'outcome'],
    ),

    claimSeconds: histogram(
      'operations_claim_seconds',
      'Transactions that took boards and put their dispatches on record',
      transactionBuckets,
    ),
    recordSeconds: histogram(
      'operations_record_seconds',
      'Transactions that wrote outcomes, of many boards each',
      transactionBuckets,
    ),
    claimedBoards: counter('operations_claimed_boards_total', 'Boards that were taken'),
    dispatches: counter('operations_dispatches_total', 'Deliveries of operations to boards'),
    outcomes: counter(
      'operations_outcomes_total',
      'What came of calls: states, no-answer, not-delivered, retry, …',
      ['outcome'],
    ),
    operationsInFlight: gauge('operations_in_flight', 'Boards that are called at the moment'),
    queueDepth: gauge(
      'operations_queue_depth',
      'Boards whose turn it is and that nobody has taken; of the first 10,000 in the queue',
      ['lane'],
    ),
    scheduleRuns: counter(
      'schedule_runs_total',
      'Due times of schedules that this conductor dealt with, by what became of them',
      ['outcome'],
    ),

    webhookAttempts: histogram(
      'webhook_attempt_seconds',
      'Requests of webhooks that this conductor made',
      [0.05, 0.25, 1, 5, 10],
      ['outcome'],
    ),
    webhooksDisabled: counter(
      'webhooks_disabled_total',
      'Webhooks that were disabled here, because they had only failed for long',
    ),
    webhookLagSeconds: gauge(
      'webhook_lag_seconds',
      'How far the outboxes of webhooks were behind the events, as of the last run here',
    ),

    sinkPoints: counter('sink_points_total', 'Points that this conductor dealt with', ['kind', 'outcome']),
    sinkWrites: histogram(
      'sink_write_seconds',
      'Batches written to targets of sinks',
      [0.005, 0.02, 0.1, 0.5, 2, 10],
      ['kind', 'outcome'],
    ),
    /** Of every sink; set anew all together. */
    sinks: {
      waiting: gauge('sink_waiting_readings', 'Readings that wait for a sink', ['sink', 'kind']),
      lagSeconds: gauge('sink_lag_seconds', 'How long the oldest of them has waited', ['sink', 'kind']),
      deadLetters: gauge('sink_dead_letters', 'Points that a sink refused and that are kept', [
        'sink',
        'kind',
      ]),
      lost: gauge('sink_lost_readings', 'Readings that were given up: the sink was too far behind', [
        'sink',
        'kind',
      ]),
    },

    alarmEvaluations: histogram(
      'alarm_evaluation_seconds',
      'Transactions that evaluated the alarm rules of a tenant',
      transactionBuckets,
    ),
    alarmLag: histogram(
      'alarm_lag_seconds',
      'How long the oldest readings of an evaluation had been stored before it',
      [0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300],
    ),
    alarmReadings: counter('alarm_readings_total', 'Readings that were evaluated by alarm rules here'),
    alarmChanges: counter('alarm_changes_total', 'Alarms that were raised and cleared here', ['change']),
    alarmsOpen: gauge('alarms_open', 'Alarms that are raised or acknowledged, of all tenants', ['severity']),

    dirtyHours: gauge(
      'rollup_backlog_hours',
      'Hours of streams that are over and not rolled up, as of the last run here',
    ),
    partitionDaysAhead: gauge(
      'partition_days_ahead',
      'Days that the partitions of readings reach ahead, as of the last run here',
    ),
    flow: gauge(
      'flow',
      'received = stored + duplicate + rejected + waiting at each hop, as of the last run here',
      ['hop', 'count'],
    ),
  };
}

export function observeEngine(metrics: ConductorMetrics): EngineObserver {
  return {
    onClaim(boards, dispatches, seconds) {
      metrics.claimSeconds.observe(seconds);
      metrics.claimedBoards.inc(boards);
      metrics.dispatches.inc(dispatches);
    },
    onGoOn: (dispatches) => metrics.dispatches.inc(dispatches),
    onOutcome: (outcome) => metrics.outcomes.inc({ outcome }),
    onCommit: (seconds) => metrics.recordSeconds.observe(seconds),
  };
}

export function observeAlarms(metrics: ConductorMetrics): AlarmObserver {
  return {
    onEvaluation({ evaluated, waitedMs }, seconds) {
      metrics.alarmEvaluations.observe(seconds);
      metrics.alarmReadings.inc(evaluated);
      if (waitedMs !== undefined) metrics.alarmLag.observe(waitedMs / 1000);
    },
    onAlarms({ raised, cleared }) {
      metrics.alarmChanges.inc({ change: 'raised' }, raised);
      metrics.alarmChanges.inc({ change: 'cleared' }, cleared);
    },
  };
}

export function observeSinks(metrics: ConductorMetrics): SinkObserver {
  return {
    onPoints: (kind, outcome, points) => metrics.sinkPoints.inc({ kind, outcome }, points),
    onWrite: (kind, outcome, seconds) => metrics.sinkWrites.observe({ kind, outcome }, seconds),
  };
}
