/** Ends the running sessions of API keys that were revoked or have expired. */
import type { Database } from '../../common/db/database.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import { closeReason, findSession, killSession, listSessions } from '../router/meta.ts';
import type { KeyCache } from './key-cache.ts';
import { findEndedKeys } from './principals.ts';

export interface EndedKeys {
  /** Keys that ended within the last minutes. */
  check(): Promise<void>;
  /** Every session that the router holds for a service: no agent may have been there when its key ended. */
  checkAll(session: WampSession): Promise<void>;
}

export interface EndedKeysOptions {
  database: Database;
  keys: KeyCache;
  /** Says goodbye to every session of an authid. */
  kill: (authid: string, message: string) => Promise<number>;
  logger: Logger;
}

/** Longer than the database may be away without the process noticing. */
const lookBackSeconds = 120;
const message = 'this key was revoked or has expired';

export function createEndedKeys({ database, keys, kill, logger }: EndedKeysOptions): EndedKeys {
  const done = new Map<string, number>();
  return {
    async check() {
      for (const id of await database.read((manager) => findEndedKeys(manager, lookBackSeconds))) {
        // Twice: a session may have been joining when the key ended.
        const times = done.get(id) ?? 0;
        if (times >= 2) continue;
        const sessions = await kill(id, message);
        done.set(id, times + 1);
        if (sessions > 0) logger.info({ apiKey: id, sessions }, 'sessions of an ended key were closed');
      }
      if (done.size > 10_000) done.clear();
    },
    async checkAll(session) {
      for (const id of await listSessions(session, 'service')) {
        const authid = (await findSession(session, id))?.authid;
        if (authid !== undefined && !(await keys.findUsable(authid)))
          await killSession(session, id, closeReason, message);
      }
    },
  };
}
