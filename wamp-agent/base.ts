/** What the parts of the agent are given: which agent this is, and its way to its neighbours. */
import { randomUUID } from 'node:crypto';
import { createDatabase, type Database, waitForDatabase } from '../common/db/database.ts';
import { findLiveConductors } from '../common/db/queries/conductors.ts';
import { messageOf } from '../common/runtime/app-error.ts';
import type { Lifecycle } from '../common/runtime/lifecycle.ts';
import type { Logger } from '../common/runtime/logger.ts';
import { createWakeClient, type WakeClient } from '../common/wake/wake-client.ts';
import type { WampSession } from '../common/wamp/typed-session.ts';
import type { AgentConfig } from './config.ts';
import { createMetrics, type Metrics } from './metrics.ts';

export interface AgentBase {
  /** Of this process; another one each time. */
  id: string;
  config: AgentConfig;
  metrics: Metrics;
  database: Database;
  /** Who does the work that is due. */
  conductors: Pick<WakeClient, 'wake'>;
  /** The session that serves at the router now; throws AppError `unavailable` without one. */
  session: () => WampSession;
  /** For what need not succeed: it is done again, or told by a row. */
  quietly: (work: () => Promise<unknown>) => Promise<void>;
  onStop: Lifecycle['onStop'];
  logger: Logger;
}

/** Resolves when the database answers. */
export async function openBase(
  { config, logger, session }: Pick<AgentBase, 'config' | 'logger' | 'session'>,
  { onStop, stopping }: Lifecycle,
): Promise<AgentBase> {
  const metrics = createMetrics();
  const database = createDatabase({
    url: config.databaseUrl,
    logger,
    poolSize: config.databasePool,
    onRetry: (kind) => metrics.databaseRetries.inc({ kind }),
  });
  onStop('database', () => database.close());
  await waitForDatabase(database, logger, stopping);
  const conductors = createWakeClient({
    findConductors: () => database.read(findLiveConductors),
    key: config.relay.key,
    logger,
  });
  onStop('wakes', () => conductors.close());
  return {
    id: randomUUID(),
    config,
    metrics,
    database,
    conductors,
    session,
    async quietly(work) {
      try {
        await work();
      } catch (error) {
        logger.debug({ reason: messageOf(error) }, 'did not work out, goes on without');
      }
    },
    onStop,
    logger,
  };
}
