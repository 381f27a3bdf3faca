/** Keeps day partitions of `readings` ahead of time, and drops those that outlived the retention. */
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import {
  addPartitions,
  type DayPartition,
  dayMs,
  dropPartition,
  listPartitions,
  startOfDay,
} from '../../common/db/queries/partitions.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Retention } from '../config.ts';
import type { ConductorMetrics } from '../metrics.ts';
import type { TaskContext } from '../scheduler.ts';
import { planPartitions } from './partition-plan.ts';

/** A change that had to wait for too long held up others: it comes again with the next try of the slot. */
const once = { deadlineMs: 0 };

export async function keepPartitions(
  context: TaskContext,
  rules: Retention,
  metrics: Pick<ConductorMetrics, 'partitionDaysAhead'>,
): Promise<JsonObject> {
  const now = await context.database.read(getDatabaseTime);
  const plan = planPartitions(await context.database.read(listPartitions), now, rules.retentionDays);
  if (plan.add.length > 0) await context.write((manager) => addPartitions(manager, plan.add), once);
  for (const { name } of plan.drop) {
    await context.write((manager) => dropPartition(manager, name), once);
    context.logger.info({ partition: name, retentionDays: rules.retentionDays }, 'dropped a day of readings');
  }
  const last = (await context.database.read(listPartitions)).at(-1);
  const ahead = last === undefined ? 0 : (last.beforeAt - startOfDay(now)) / dayMs - 1;
  metrics.partitionDaysAhead.set(ahead);
  const names = (partitions: readonly DayPartition[]) => partitions.map(({ name }) => name);
  return { added: names(plan.add), dropped: names(plan.drop), daysAhead: ahead };
}
