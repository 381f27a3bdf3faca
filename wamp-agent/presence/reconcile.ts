/**
 * Compares the live rows of the cell with the sessions that the router holds: after every join,
 * because leaves may have been missed, and once a minute as a safety net.
 */
import type { Database } from '../../common/db/database.ts';
import { findLiveSessions } from '../../common/db/queries/presence.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import { listSessions } from '../router/meta.ts';
import type { Leaves } from './leaves.ts';

export interface ReconcileOptions {
  database: Database;
  cell: string;
  leaves: Leaves;
  session: WampSession;
}

export async function reconcile({ database, cell, leaves, session }: ReconcileOptions): Promise<void> {
  // The rows first: a board that joins in between is in the router's list, not in the rows.
  const live = await database.read((manager) => findLiveSessions(manager, cell));
  const held = await listSessions(session);
  const lost = live.filter((each) => !held.has(each.wampSession));
  await leaves.end(lost, 'router-lost');
}
