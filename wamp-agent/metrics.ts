/** What the agent counts. The registry is its own, so that several agents fit in one test process. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface Metrics {
  registry: Registry;
  joins: Counter<'role'>;
  refusals: Counter<'action' | 'reason'>;
  authorizations: Counter<'allow'>;
  batches: Counter<'outcome'>;
  readings: Counter;
  commitSeconds: Histogram;
  ingestLagSeconds: Histogram;
  relayCalls: Counter<'outcome'>;
  relayInFlight: Gauge;
  sessionsLive: Gauge;
  presenceChanges: Counter<'reason'>;
  databaseRetries: Counter<'kind'>;
  liveLinesDropped: Counter;
  operationReports: Counter<'outcome'>;
  operationProgress: Counter<'outcome'>;
  operationCommitSeconds: Histogram;
  overQuota: Counter<'procedure'>;
  artifactBytes: Counter;
  artifacts: Counter<'outcome'>;
  moduleReports: Counter<'outcome'>;
  modulesFound: Counter<'state'>;
}

const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const prefix = 'boardwalk_agent_';
  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Counter<L>({ name: prefix + name, help, labelNames, registers });
  const histogram = (name: string, help: string) =>
    new Histogram({ name: prefix + name, help, buckets: latencyBuckets, registers });
  const gauge = (name: string, help: string) => new Gauge({ name: prefix + name, help, registers });
  return {
    registry,
    joins: counter('joins_total', 'Joins let in', ['role']),
    refusals: counter('refusals_total', 'Joins, actions and calls refused', ['action', 'reason']),
    authorizations: counter('authorizations_total', 'Questions of the router answered', ['allow']),
    batches: counter('batches_total', 'Batches of readings', ['outcome']),
    readings: counter('readings_total', 'Readings committed'),
    commitSeconds: histogram('commit_seconds', 'Duration of a transaction that stores readings'),
    ingestLagSeconds: histogram('ingest_lag_seconds', 'From the arrival of a batch to its commit'),
    relayCalls: counter('relay_calls_total', 'Calls relayed to boards', ['outcome']),
    relayInFlight: gauge('relay_calls_in_flight', 'Calls under way'),
    sessionsLive: gauge('sessions_live', 'Live board sessions of the cell, at the last count'),
    presenceChanges: counter('presence_changes_total', 'Sessions opened and ended', ['reason']),
    databaseRetries: counter('database_retries_total', 'Statements and transactions repeated', ['kind']),
    liveLinesDropped: counter('live_lines_dropped_total', 'Lines that a slow reader did not get'),
    operationReports: counter('operation_reports_total', 'Reports of operations', ['outcome']),
    operationProgress: counter('operation_progress_total', 'Progress of operations', ['outcome']),
    operationCommitSeconds: histogram(
      'operation_commit_seconds',
      'Duration of the transactions that store reports of operations',
    ),
    overQuota: counter('over_quota_total', "Calls refused by a tenant's quota", ['procedure']),
    artifactBytes: counter('artifact_bytes_total', 'Bytes of files taken from boards'),
    artifacts: counter('artifacts_total', 'Files taken whole, and chunks refused', ['outcome']),
    moduleReports: counter('module_reports_total', 'Reports of modules and sources', ['outcome']),
    modulesFound: counter('modules_found_total', 'Unknown devices in reports, and what became of them', [
      'state',
    ]),
  };
}
