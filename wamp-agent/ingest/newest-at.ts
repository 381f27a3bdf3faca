/**
 * Up to which time readings can be stored by time: the clock of a board may be wrong. The days come
 * from the conductor, ten ahead; when none has run for that long, the agent makes those that it
 * needs, because readings of today that find no place would look misdated for ever.
 */
import type { Database } from '../../common/db/database.ts';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import { findReadingsEnd } from '../../common/db/queries/ingest.ts';
import { addPartitions, listMissingDays } from '../../common/db/queries/partitions.ts';
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

  async function addDays(): Promise<void> {
    const now = await database.read(getDatabaseTime);
    // None at all is no fault of a conductor: there is nothing to go on from.
    const missing = end === 0 ? [] : listMissingDays(end, now + aheadMs);
    if (missing.length === 0) return;
    logger.error({ end, days: missing.length }, 'readings has no days ahead: is a conductor running?');
    try {
      // Once: a change that has to wait for long holds up others.
      await database.read((manager) => addPartitions(manager, missing), { deadlineMs: 0 });
      end = await database.read(findReadingsEnd);
    } catch (error) {
      logger.error({ err: error }, 'days of readings could not be added, will try again');
    }
  }

  return {
    value: () => Math.min(end - 1, Date.now() + aheadMs),
    async refresh() {
      end = await database.read(findReadingsEnd);
      await addDays();
    },
  };
}
