/** The balance of everything that came in, of the whole installation: as metrics, and said when it is broken. */
import { readFlow } from '../../common/db/queries/flow.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { ConductorMetrics } from '../metrics.ts';
import type { TaskContext } from '../scheduler.ts';

const counts = ['received', 'stored', 'duplicate', 'rejected', 'waiting'] as const;

export async function watchFlow(
  { database, logger }: Pick<TaskContext, 'database' | 'logger'>,
  { flow }: Pick<ConductorMetrics, 'flow'>,
): Promise<JsonObject> {
  const hops = await database.read((manager) => readFlow(manager));
  for (const each of hops) {
    const { hop, difference } = each;
    for (const count of counts) flow.set({ hop, count }, each[count]);
    flow.set({ hop, count: 'difference' }, difference);
    if (difference !== 0)
      logger.error({ hop, difference }, 'the flow does not add up: see /v1/boards/…/flow');
  }
  return Object.fromEntries(hops.map(({ hop, difference }) => [hop, difference]));
}
