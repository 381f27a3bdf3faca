/**
 * Audit rows of calls, written together at most a second later: a row per call in a commit of its
 * own would double what a call costs. The ones of the last second are lost when the process is
 * killed; a clean stop writes them.
 */
import type { Database } from '../../common/db/database.ts';
import { type AuditRecord, recordAudit } from '../../common/db/queries/audit.ts';
import { every } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';

export interface AuditBatch {
  add(record: AuditRecord): void;
  /** Writes what is left. */
  stop(): Promise<void>;
}

export interface AuditBatchOptions {
  database: Database;
  logger: Logger;
  intervalMs?: number;
}

const rowsPerStatement = 500;
/** About half a minute of calls at full load: what a database outage may cost in memory. */
const maxPending = 50_000;

export function createAuditBatch({ database, logger, intervalMs = 1000 }: AuditBatchOptions): AuditBatch {
  let pending: AuditRecord[] = [];
  let dropped = 0;

  async function flush(): Promise<void> {
    while (pending.length > 0) {
      const batch = pending.slice(0, rowsPerStatement);
      await database.transaction((manager) => recordAudit(manager, ...batch));
      pending = pending.slice(batch.length);
    }
    if (dropped > 0) {
      logger.error({ dropped }, 'audit rows of calls were dropped while the database was away');
      dropped = 0;
    }
  }

  const task = every({ name: 'audit of calls', intervalMs, logger }, flush);
  return {
    add(record) {
      if (pending.length < maxPending) pending.push({ ...record, at: new Date() });
      else dropped += 1;
    },
    async stop() {
      await task.stop();
      await flush();
    },
  };
}
