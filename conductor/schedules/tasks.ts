import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import type { RelayClient } from '../../common/relay/relay-client.ts';
import { createBoardRests } from '../board-rests.ts';
import type { ConductorMetrics } from '../metrics.ts';
import type { Task } from '../scheduler.ts';
import { handOutRestMs, handOutSchedules } from './hand-out.ts';
import { runSchedules } from './run-schedules.ts';

export interface ScheduleTaskOptions {
  quotas: QuotaLimits;
  relay: Pick<RelayClient, 'call'>;
  metrics: Pick<ConductorMetrics, 'scheduleRuns'>;
  /** Boards have got something to do. */
  onQueued: () => void;
}

const second = 1000;

export function createScheduleTasks({
  quotas,
  relay,
  metrics,
  onQueued,
}: ScheduleTaskOptions): readonly Task[] {
  const rests = createBoardRests(handOutRestMs);
  return [
    {
      name: 'schedules',
      everyMs: second,
      leaseSeconds: 5,
      run: (context) =>
        runSchedules(context, {
          quotas,
          onOperations: onQueued,
          onStep: (outcome) => metrics.scheduleRuns.inc({ outcome }),
        }),
    },
    {
      name: 'offline-schedules',
      everyMs: 5 * second,
      leaseSeconds: 30,
      run: (context) => handOutSchedules(context, { relay, rests }),
    },
  ];
}
