/** Every task of the conductor, with its rhythm. */
import type { Rules } from '../config.ts';
import type { ConductorMetrics } from '../metrics.ts';
import type { Task } from '../scheduler.ts';
import { clearExpired } from './cleanup.ts';
import { clearDeletedBoards } from './deleted-boards.ts';
import { endLapsedSessions } from './heartbeats.ts';
import { checkLiveness } from './liveness.ts';
import { keepPartitions } from './partitions.ts';
import { trimStreams } from './retention.ts';
import { rollDirtyHours } from './rollups.ts';

const second = 1000;
const minute = 60 * second;

export function createTasks(
  rules: Rules,
  metrics: Pick<ConductorMetrics, 'dirtyHours' | 'partitionDaysAhead'>,
): readonly Task[] {
  return [
    { name: 'liveness', everyMs: 2 * second, leaseSeconds: 6, run: checkLiveness },
    { name: 'heartbeats', everyMs: 5 * second, run: endLapsedSessions },
    {
      name: 'rollups',
      everyMs: 20 * second,
      leaseSeconds: 30,
      run: (context) => rollDirtyHours(context, metrics),
    },
    { name: 'cleanup', everyMs: minute, run: (context) => clearExpired(context, rules) },
    { name: 'deleted-boards', everyMs: 5 * minute, run: clearDeletedBoards },
    { name: 'retention', everyMs: 10 * minute, run: (context) => trimStreams(context, rules) },
    { name: 'partitions', everyMs: 60 * minute, run: (context) => keepPartitions(context, rules, metrics) },
  ];
}
