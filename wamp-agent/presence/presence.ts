/** Who is there: sessions of boards come with a hello, give signs of life, and leave or are ended. */
import { countLiveSessions } from '../../common/db/queries/presence.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import { createEndedKeys } from '../auth/ended-keys.ts';
import type { Entrance } from '../auth/entrance.ts';
import type { AgentBase } from '../base.ts';
import type { BoardDirectory } from '../boards/directory.ts';
import type { Publisher } from '../live/publisher.ts';
import { createHeartbeat } from '../procedures/heartbeat.ts';
import { createDisconnect } from '../relay/disconnect.ts';
import { closeReason, killByAuthid, killSession } from '../router/meta.ts';
import type { Settings } from '../settings.ts';
import { createBacklogs } from './backlogs.ts';
import { createPresenceChanges } from './changes.ts';
import { createHello } from './hello.ts';
import { createLeaves } from './leaves.ts';
import { reconcile } from './reconcile.ts';
import { createSignsOfLife } from './signs-of-life.ts';

export interface PresenceParts {
  directory: BoardDirectory;
  entrance: Entrance;
  publisher: Publisher;
  settings: Settings;
}

export type Presence = ReturnType<typeof createPresence>;

export function createPresence(base: AgentBase, parts: PresenceParts) {
  const { database, metrics, conductors, quietly, logger } = base;
  const { cell, boardUrls } = base.config;
  const { directory, entrance, settings } = parts;
  const changes = createPresenceChanges(parts.publisher, metrics);
  const signs = createSignsOfLife(database, logger);
  const backlogs = createBacklogs(database, logger);
  const leaves = createLeaves({ database, cell, directory, changes, logger });
  const endSessionsOf = (authid: string, message: string) =>
    killByAuthid(base.session(), authid, closeReason, message);

  return {
    signs,
    leaves,
    endedKeys: createEndedKeys({ database, keys: entrance.keys, kill: endSessionsOf, logger }),
    hello: createHello({
      database,
      cell,
      agentId: base.id,
      boardUrls,
      settings,
      directory,
      gate: entrance.gate,
      leaves,
      changes,
      findJoin: entrance.findJoin,
      kill: (wampSession, message) =>
        quietly(() => killSession(base.session(), wampSession, closeReason, message)),
      onAwaited: (boardUuid) => conductors.wake({ boards: [boardUuid] }),
      logger,
    }),
    heartbeat: createHeartbeat({
      cell,
      directory,
      signs,
      backlogs,
      onRevoked: (boardUuid) => void quietly(() => endSessionsOf(boardUuid, 'this board is revoked')),
    }),
    disconnect: createDisconnect({ database, cell, leaves, endSessionsOf }),

    /** With the sessions that the router holds. */
    compare: (session: WampSession) => reconcile({ database, cell, leaves, session }),

    /** The pace of the boards follows their number. */
    async count(): Promise<void> {
      const live = await database.read((manager) => countLiveSessions(manager, cell));
      metrics.sessionsLive.set(live);
      settings.countBoards(live);
    },

    /** Writes what is still in memory. */
    async stop(): Promise<void> {
      await Promise.all([leaves.stop(), signs.stop(), backlogs.stop()]);
    },
  };
}
