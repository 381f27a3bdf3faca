/** API keys of running sessions, remembered for two seconds: a revoked key loses its rights that soon. */
import type { Database } from '../../common/db/database.ts';
import { findKeyPrincipal, type KeyPrincipal } from './principals.ts';

export interface KeyCache {
  /** undefined when the key is unknown, revoked or expired. */
  findUsable(keyId: string): Promise<KeyPrincipal | undefined>;
}

const freshMs = 2000;
const maxRemembered = 10_000;

export function createKeyCache(database: Database, now: () => number = () => performance.now()): KeyCache {
  const remembered = new Map<string, { readAt: number; key: Promise<KeyPrincipal | undefined> }>();
  return {
    async findUsable(keyId) {
      let known = remembered.get(keyId);
      if (!known || now() - known.readAt > freshMs) {
        known = { readAt: now(), key: database.read((manager) => findKeyPrincipal(manager, keyId)) };
        remembered.delete(keyId);
        remembered.set(keyId, known);
        known.key.catch(() => remembered.delete(keyId));
        if (remembered.size > maxRemembered)
          for (const oldest of remembered.keys()) {
            remembered.delete(oldest);
            break;
          }
      }
      const key = await known.key;
      return key && !key.revoked && !key.expired ? key : undefined;
    },
  };
}
