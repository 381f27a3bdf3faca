/** Which day partitions to add and to drop; pure. */
import { type DayPartition, dayMs } from '../../common/db/queries/partitions.ts';

/** Whole days after today that always have a partition: a conductor may be away that long. */
export const daysAhead = 10;

export interface PartitionPlan {
  add: DayPartition[];
  drop: DayPartition[];
}

export function startOfDay(at: number): number {
  return Math.floor(at / dayMs) * dayMs;
}

/** Readings measured before this have outlived `retentionDays`; on a day's border. */
export function retentionCutoff(now: number, retentionDays: number): number {
  return startOfDay(now) - retentionDays * dayMs;
}

/** @param partitions in ascending order */
export function planPartitions(
  partitions: readonly DayPartition[],
  now: number,
  retentionDays: number,
): PartitionPlan {
  const cutoff = retentionCutoff(now, retentionDays);
  const add: DayPartition[] = [];
  const lastBefore = startOfDay(now) + (daysAhead + 1) * dayMs;
  for (
    let before = (partitions.at(-1)?.beforeAt ?? startOfDay(now)) + dayMs;
    before <= lastBefore;
    before += dayMs
  )
    add.push({ name: partitionName(before), beforeAt: before });
  // A table needs a partition, and new ones can only be added after the last.
  const drop = partitions.slice(0, -1).filter(({ beforeAt }) => beforeAt <= cutoff);
  return { add, drop };
}

/** Named by the day it holds. */
function partitionName(beforeAt: number): string {
  return `p${new Date(beforeAt - dayMs).toISOString().slice(0, 10).replaceAll('-', '')}`;
}
