/** The host's own figures. Streams exist only for what this host has. */

import type { StreamDeclaration } from '../../../common/wamp/readings.ts';
import {
  type CpuTimes,
  readCpuTimes,
  readDisk,
  readLoad1,
  readMemory,
  readTemperature,
  readTraffic,
  type Traffic,
} from '../../host/proc.ts';
import type { Source, SourceContext } from '../source.ts';
import type { SystemSourceSettings } from './settings.ts';

interface Gauge {
  stream: StreamDeclaration;
  /** undefined = no value this time. */
  read(): number | undefined;
}

export function createSystemSource(settings: SystemSourceSettings, context: SourceContext): Source {
  const { clock, emit } = context;
  const stream = (name: string, unit: string): StreamDeclaration => ({
    name: `${settings.module}/${name}`,
    type: 'number',
    unit,
  });
  const gauges: Gauge[] = [
    { stream: stream('cpu', '%'), read: createCpuGauge() },
    { stream: stream('load1', ''), read: () => readLoad1() },
    { stream: stream('memory_used', '%'), read: readMemoryUsed },
    ...settings.mounts.map((mount) => ({
      stream: stream(mount === '/' ? 'disk_used' : `disk_used${mount}`, '%'),
      read: () => readDisk(mount)?.usedPercent,
    })),
    ...createTrafficGauges(stream, () => clock.monotonicMs()),
  ];
  if (readTemperature() !== undefined)
    gauges.push({ stream: stream('temperature', 'Cel'), read: () => readTemperature() });
  let cancelTick: (() => void) | undefined;

  function tick(): void {
    const at = clock.now();
    for (const gauge of gauges) {
      const value = gauge.read();
      if (value !== undefined) emit(gauge.stream, rounded(value), at);
    }
    cancelTick = clock.after(settings.intervalMs, tick);
  }

  return {
    modules: [
      { name: settings.module, description: 'This host', streams: gauges.map((gauge) => gauge.stream) },
    ],
    procedures: [],
    start() {
      // What is a rate needs a first look to compare with.
      for (const gauge of gauges) gauge.read();
      cancelTick = clock.after(Math.min(1000, settings.intervalMs), tick);
    },
    stop() {
      cancelTick?.();
    },
  };
}

/** Three digits say all that such figures mean, and cost less to send and store. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function createCpuGauge(): () => number | undefined {
  let last: CpuTimes | undefined;
  return () => {
    const now = readCpuTimes();
    const before = last;
    last = now;
    if (!now || !before || now.total <= before.total) return undefined;
    return ((now.busy - before.busy) / (now.total - before.total)) * 100;
  };
}

function readMemoryUsed(): number | undefined {
  const memory = readMemory();
  return memory && (1 - memory.availableBytes / memory.totalBytes) * 100;
}

function createTrafficGauges(
  stream: (name: string, unit: string) => StreamDeclaration,
  monotonicMs: () => number,
): Gauge[] {
  const createRate = (pick: (traffic: Traffic) => number) => {
    let last: { bytes: number; atMs: number } | undefined;
    return () => {
      const traffic = readTraffic();
      const before = last;
      last = traffic && { bytes: pick(traffic), atMs: monotonicMs() };
      // Less than before: the counter began anew, or an interface has gone.
      if (!before || !last || last.bytes < before.bytes || last.atMs <= before.atMs) return undefined;
      return ((last.bytes - before.bytes) * 1000) / (last.atMs - before.atMs);
    };
  };
  return [
    { stream: stream('network_received', 'By/s'), read: createRate((each) => each.receivedBytes) },
    { stream: stream('network_sent', 'By/s'), read: createRate((each) => each.sentBytes) },
  ];
}
