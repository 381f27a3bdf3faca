/** Ends a board's sessions on demand, and its presence with them when the board is revoked. */
import type { Database } from '../../common/db/database.ts';
import { findLiveSessionOf } from '../../common/db/queries/presence.ts';
import type { Leaves } from '../presence/leaves.ts';

export interface DisconnectOptions {
  database: Database;
  cell: string;
  leaves: Leaves;
  endSessionsOf: (boardUuid: string, message: string) => Promise<number>;
}

export function createDisconnect({ database, cell, leaves, endSessionsOf }: DisconnectOptions) {
  return async (boardUuid: string, reason: string): Promise<number> => {
    const sessions = await endSessionsOf(boardUuid, reason);
    const live = await database.read((manager) => findLiveSessionOf(manager, boardUuid));
    // Who does not answer the goodbye stays at the router for a while, and counts as gone already.
    if (live?.isRevoked && live.cell === cell) await leaves.end([live], 'revoked');
    return sessions;
  };
}
