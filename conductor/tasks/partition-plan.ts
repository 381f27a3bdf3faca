/** Which day partitions to add and to drop; pure. */
import { type DayPartition, dayMs, listMissingDays, startOfDay } from '../../common/db/queries/partitions.ts';

/** Whole days after today that always have a partition: a conductor may be away that long. */
export const daysAhead = 10;

export interface PartitionPlan {
  add: DayPartition[];
  drop: DayPartition[];
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
  const add = listMissingDays(partitions.at(-1)?.beforeAt ?? startOfDay(now), now + daysAhead * dayMs);
  // A table needs a partition, and new ones can only be added after the last.
  const drop = partitions.slice(0, -1).filter(({ beforeAt }) => beforeAt <= cutoff);
  return { add, drop };
}
