import { Counter, Gauge, type Registry } from 'prom-client';

export interface EventMetrics {
  open(change: 1 | -1): void;
  sent(type: string): void;
  cutOff(): void;
}

export function createEventMetrics(registry: Registry): EventMetrics {
  const registers = [registry];
  const streams = new Gauge({ name: 'boardwalk_event_streams', help: 'Open streams of events', registers });
  const sent = new Counter({
    name: 'boardwalk_events_sent_total',
    help: 'Events written to listeners, by type',
    labelNames: ['type'] as const,
    registers,
  });
  const cut = new Counter({
    name: 'boardwalk_event_streams_cut_total',
    help: 'Streams that were cut off because their client was too slow',
    registers,
  });
  return {
    open: (change) => streams.inc(change),
    sent: (type) => sent.labels(type).inc(),
    cutOff: () => cut.inc(),
  };
}
