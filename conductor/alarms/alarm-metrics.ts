import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { type Severity, severities } from '../../common/alarms/rules.ts';
import type { AlarmObserver } from './alarms.ts';

export interface AlarmMetrics {
  observer: AlarmObserver;
  setOpen(counts: ReadonlyMap<Severity, number>): void;
}

export function createAlarmMetrics(registers: Registry[]): AlarmMetrics {
  const evaluations = new Histogram({
    name: 'boardwalk_alarm_evaluation_seconds',
    help: 'Transactions that evaluated the alarm rules of a tenant',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  const lag = new Histogram({
    name: 'boardwalk_alarm_lag_seconds',
    help: 'How long the oldest readings of an evaluation had been stored before it',
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300],
    registers,
  });
  const readings = new Counter({
    name: 'boardwalk_alarm_readings_total',
    help: 'Readings that were evaluated by alarm rules here',
    registers,
  });
  const changes = new Counter({
    name: 'boardwalk_alarm_changes_total',
    help: 'Alarms that were raised and cleared here',
    labelNames: ['change'],
    registers,
  });
  const open = new Gauge({
    name: 'boardwalk_alarms_open',
    help: 'Alarms that are raised or acknowledged, of all tenants',
    labelNames: ['severity'],
    registers,
  });
  return {
    observer: {
      onEvaluation({ evaluated, waitedMs }, seconds) {
        evaluations.observe(seconds);
        readings.inc(evaluated);
        if (waitedMs !== undefined) lag.observe(waitedMs / 1000);
      },
      onAlarms({ raised, cleared }) {
        changes.inc({ change: 'raised' }, raised);
        changes.inc({ change: 'cleared' }, cleared);
      },
    },
    setOpen(counts) {
      for (const severity of severities) open.set({ severity }, counts.get(severity) ?? 0);
    },
  };
}
