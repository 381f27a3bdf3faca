/** A database of its own, and tasks run on it as the scheduler would, but one at a time and at once. */
import { createDatabase, type Database } from '../../../common/db/database.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import type { TaskContext } from '../../../conductor/scheduler.ts';
import { createRows, openTestDatabase } from '../rpc-support.ts';

export const silent = createLogger('conductor', 'silent');

export async function openConductorDatabase() {
  const { db, connection, close } = await openTestDatabase();
  const database = createDatabase({ url: db.url, logger: silent });
  return {
    db,
    url: db.url,
    connection,
    database,
    rows: createRows(connection),
    /** First column of the first row. */
    async value(sql: string, parameters: unknown[] = []): Promise<unknown> {
      const [rows] = await connection.query(sql, parameters);
      const [row] = rows as Record<string, unknown>[];
      return row && Object.values(row)[0];
    },
    async close() {
      await database.close();
      await close();
    },
  };
}

/** @param onWrite runs before each write; what it throws stops the task there */
export function createContext(
  database: Database,
  signal: AbortSignal = new AbortController().signal,
  onWrite: () => void = () => undefined,
): TaskContext {
  return {
    database,
    logger: silent,
    signal,
    write(work, options) {
      signal.throwIfAborted();
      onWrite();
      return database.transaction(work, options);
    },
  };
}
