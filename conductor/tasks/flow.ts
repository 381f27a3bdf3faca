/** The balance of everything that came in, of the whole installation: as metrics, and said when it is broken. */
import { readFlow } from '../../common/db/queries/flow.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { flowNames } from '../../common/wamp/modules.ts';
import type { ConductorMetrics } from '../metrics.ts';
import type { TaskContext } from '../scheduler.ts';

export async function watchFlow(
  { database, logger }: Pick<TaskContext, 'database' | 'logger'>,
  { flow }: Pick<ConductorMetrics, 'flow'>,
): Promise<JsonObject> {
  const hops = await database.read((manager) => readFlow(manager));
  for (const each of hops) {
    const { hop, difference } = each;
    for (const count of flowNames) flow.set({ hop, count }, each[count]);
    flow.set({ hop, count: 'difference' }, difference);
    if (difference !== 0)
      logger.error({ hop, difference }, 'the flow does not add up: see /v1/boards/…/flow');
  }
  return Object.fromEntries(hops.map(({ hop, difference }) => [hop, difference]));
}
