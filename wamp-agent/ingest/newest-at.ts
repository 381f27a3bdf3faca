/** Up to which time readings can be stored by time: the clock of a board may be wrong. */
import type { Database } from '../../common/db/database.ts';
import { findReadingsEnd } from '../../common/db/queries/ingest.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface NewestAt {
  /** Epoch milliseconds; later readings are kept aside. */
  value(): number;
  refresh(): Promise<void>;
}

/** A clock that is further ahead than this has jumped. */
const aheadMs = 2 * 86_400_000;

export function createNewestAt(database: Database, logger: Logger): NewestAt {
  let end = 0;
  return {
    value: () => Math.min(end - 1, Date.now() + aheadMs),
    async refresh() {
      end = await database.read(findReadingsEnd);
      if (end <= Date.now())
        logger.error({ end }, 'readings has no partition for today: is a conductor running?');
    },
  };
}
