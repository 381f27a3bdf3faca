/** What the api counts. Labels are bounded: operationIds, statuses and codes, never ids or names of tenants. */
import { createMeter, latencyBuckets } from '../../common/runtime/metrics.ts';

export type ApiMetrics = ReturnType<typeof createApiMetrics>;

export function createApiMetrics() {
  const { registry, counter, gauge, histogram } = createMeter('boardwalk_');
  return {
    registry,
    requestSeconds: histogram(
      'http_request_duration_seconds',
      'Time from the request to the end of its answer',
      latencyBuckets,
      ['operation', 'status'],
    ),
    /** `outcome`: `ok` or the error code. */
    rpcSeconds: histogram(
      'rpc_seconds',
      'Calls of procedures on boards, from the arrival of the request, by outcome',
      [...latencyBuckets, 60, 300],
      ['outcome'],
    ),
    eventStreams: gauge('event_streams', 'Open streams of events'),
    eventsSent: counter('events_sent_total', 'Events written to listeners, by type', ['type']),
    eventStreamsCut: counter(
      'event_streams_cut_total',
      'Streams that were cut off because their client was too slow',
    ),
    databaseRetries: counter(
      'database_retries_total',
      'Database work that was run again, by the kind of fault',
      ['kind'],
    ),
  };
}
