/** The readings' part of the agent: what is remembered of tenants and days, the ingest, and its procedure. */
import type { AgentBase } from '../base.ts';
import type { GetCaller } from '../boards/get-caller.ts';
import type { LiveHub } from '../live/hub.ts';
import type { Publisher } from '../live/publisher.ts';
import type { SignsOfLife } from '../presence/signs-of-life.ts';
import { createAppendReadings } from '../procedures/append-readings.ts';
import type { Settings } from '../settings.ts';
import { createConsumerMemory } from './consumers.ts';
import { createIngest } from './ingest.ts';
import { createNewestAt } from './newest-at.ts';
import { createReadingsQuota } from './readings-quota.ts';

export interface ReadingsParts {
  hub: LiveHub;
  publisher: Publisher;
  signs: SignsOfLife;
  settings: Settings;
  getCaller: GetCaller;
}

export async function createReadings(base: AgentBase, parts: ReadingsParts) {
  const { database, metrics, conductors, onStop, logger } = base;
  const newestAt = createNewestAt(database, logger);
  await newestAt.refresh();
  const consumers = createConsumerMemory(database, logger);
  await consumers.refresh();
  onStop('consumers of readings', () => consumers.stop());
  const quota = createReadingsQuota({ database, defaults: base.config.quotas, logger });
  onStop('usage of tenants', () => quota.stop());
  const ingest = createIngest({
    database,
    newestAt,
    metrics,
    logger,
    consumersOf: consumers.of,
    onOutbox: (ids) => conductors.wake({ consumers: ids }),
  });
  return {
    appendReadings: createAppendReadings({ ...parts, ingest, newestAt, quota }),
    /** How far readings may be dated ahead moves on with the days. */
    refreshNewest: newestAt.refresh,
  };
}
