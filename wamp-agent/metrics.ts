/** What the agent counts. */
import { createMeter, latencyBuckets } from '../common/runtime/metrics.ts';

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const { registry, counter, gauge, histogram } = createMeter('boardwalk_agent_');
  const latency = (name: string, help: string) => histogram(name, help, latencyBuckets);
  return {
    registry,
    joins: counter('joins_total', 'Joins let in', ['role']),
    refusals: counter('refusals_total', 'Joins, actions and calls refused', ['action', 'reason']),
    authorizations: counter('authorizations_total', 'Questions of the router answered', ['allow']),
    batches: counter('batches_total', 'Batches of readings', ['outcome']),
    readings: counter('readings_total', 'Readings committed'),
    commitSeconds: latency('commit_seconds', 'Duration of a transaction that stores readings'),
    ingestLagSeconds: latency('ingest_lag_seconds', 'From the arrival of a batch to its commit'),
    relayCalls: counter('relay_calls_total', 'Calls relayed to boards', ['outcome']),
    relayInFlight: gauge('relay_calls_in_flight', 'Calls under way'),
    sessionsLive: gauge('sessions_live', 'Live board sessions of the cell, at the last count'),
    presenceChanges: counter('presence_changes_total', 'Sessions opened and ended', ['reason']),
    databaseRetries: counter('database_retries_total', 'Statements and transactions repeated', ['kind']),
    liveLinesDropped: counter('live_lines_dropped_total', 'Lines that a slow reader did not get'),
    operationReports: counter('operation_reports_total', 'Reports of operations', ['outcome']),
    operationProgress: counter('operation_progress_total', 'Progress of operations', ['outcome']),
    operationCommitSeconds: latency(
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
