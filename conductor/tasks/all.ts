/** Every task of the conductor, with its rhythm. */
import type { ArtifactStore } from '../../common/artifacts/store.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import type { RelayClient } from '../../common/relay/relay-client.ts';
import type { Rules } from '../config.ts';
import type { ConductorMetrics } from '../metrics.ts';
import type { Task } from '../scheduler.ts';
import { createScheduleTasks } from '../schedules/tasks.ts';
import { createFanOut } from '../webhooks/fan-out.ts';
import { limitOutboxes } from '../webhooks/limit-outboxes.ts';
import { clearExpired } from './cleanup.ts';
import { clearDeletedBoards } from './deleted-boards.ts';
import { watchFlow } from './flow.ts';
import { endLapsedSessions } from './heartbeats.ts';
import { checkLiveness } from './liveness.ts';
import { trimArtifacts, trimOperations } from './operation-retention.ts';
import { keepOperations, sweepOperations } from './operations.ts';
import { createOutboxClearing, limitOutbox } from './outbox.ts';
import { keepPartitions } from './partitions.ts';
import { trimStreams } from './retention.ts';
import { rollDirtyHours } from './rollups.ts';
import { trimDeadLetters } from './sink-letters.ts';

const second = 1000;
const minute = 60 * second;

export interface TaskParts {
  rules: Rules;
  metrics: Pick<
    ConductorMetrics,
    'dirtyHours' | 'partitionDaysAhead' | 'scheduleRuns' | 'webhookLagSeconds' | 'flow'
  >;
  /** Outboxes of webhooks have got something to send. */
  onDeliveries: () => void;
  quotas: QuotaLimits;
  relay: Pick<RelayClient, 'call'>;
  /** undefined = this installation keeps no artifacts. */
  artifacts: ArtifactStore | undefined;
  /** Boards have got something to do. */
  onQueued: () => void;
}

export function createTasks(parts: TaskParts): readonly Task[] {
  const { rules, metrics, artifacts, onQueued, onDeliveries } = parts;
  const onLag = (seconds: number) => metrics.webhookLagSeconds.set(seconds);
  const { graceMs } = rules;
  return [
    { name: 'liveness', everyMs: 2 * second, leaseSeconds: 6, run: checkLiveness },
    {
      name: 'operations',
      everyMs: second,
      leaseSeconds: 6,
      run: (context) => keepOperations(context, { graceMs, onQueued }),
    },
    { name: 'operation-ends', everyMs: 15 * second, run: sweepOperations },
    { name: 'heartbeats', everyMs: 5 * second, run: endLapsedSessions },
    {
      name: 'rollups',
      everyMs: 20 * second,
      leaseSeconds: 30,
      run: (context) => rollDirtyHours(context, metrics),
    },
    ...createScheduleTasks(parts),
    {
      name: 'webhook-fanout',
      everyMs: second,
      leaseSeconds: 6,
      run: createFanOut({ onAdded: onDeliveries, onLag }),
    },
    { name: 'webhook-limits', everyMs: minute, run: limitOutboxes },
    { name: 'outbox', everyMs: 5 * second, run: createOutboxClearing() },
    { name: 'outbox-limits', everyMs: minute, run: (context) => limitOutbox(context, rules.outbox) },
    { name: 'sink-dead-letters', everyMs: minute, run: (context) => trimDeadLetters(context) },
    { name: 'cleanup', everyMs: minute, run: (context) => clearExpired(context, rules) },
    { name: 'operation-retention', everyMs: 10 * minute, run: (context) => trimOperations(context, rules) },
    { name: 'artifacts', everyMs: 10 * minute, run: (context) => trimArtifacts(context, artifacts) },
    { name: 'flow', everyMs: 30 * second, run: (context) => watchFlow(context, metrics) },
    { name: 'deleted-boards', everyMs: 5 * minute, run: clearDeletedBoards },
    { name: 'retention', everyMs: 10 * minute, run: (context) => trimStreams(context, rules) },
    { name: 'partitions', everyMs: 60 * minute, run: (context) => keepPartitions(context, rules, metrics) },
  ];
}
