/** Ends the running sessions of API keys that were revoked or have expired. */
import type { Database } from '../../common/db/database.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { findEndedKeys } from './principals.ts';

export interface EndedKeys {
  check(): Promise<void>;
}

export interface EndedKeysOptions {
  database: Database;
  /** Says goodbye to every session of an authid. */
  kill: (authid: string, message: string) => Promise<number>;
  logger: Logger;
}

/** Longer than the database may be away without the process noticing. */
const lookBackSeconds = 120;

export function createEndedKeys({ database, kill, logger }: EndedKeysOptions): EndedKeys {
  const done = new Map<string, number>();
  return {
    async check() {
      for (const id of await database.read((manager) => findEndedKeys(manager, lookBackSeconds))) {
        // Twice: a session may have been joining when the key ended.
        const times = done.get(id) ?? 0;
        if (times >= 2) continue;
        const sessions = await kill(id, 'this key was revoked or has expired');
        done.set(id, times + 1);
        if (sessions > 0) logger.info({ apiKey: id, sessions }, 'sessions of an ended key were closed');
      }
      if (done.size > 10_000) done.clear();
    },
  };
}
