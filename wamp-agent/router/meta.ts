/** The router's own procedures and events, typed. Only the agent's role may use them. */
import { isWampFault } from '../../common/wamp/errors.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import { metaUris, type WampRole } from '../../common/wamp/uris.ts';

/** Reason of a goodbye that we cause; the message says why. */
export const closeReason = 'boardwalk.close.ended_by_server';

/** Ids of the sessions that the router holds, of one role or of all. */
export async function listSessions(session: WampSession, role?: WampRole): Promise<Set<number>> {
  const ids = await session.call(metaUris.sessionList, role ? [[role]] : [], {});
  if (!Array.isArray(ids)) throw new TypeError('the router gave no list of sessions');
  return new Set(ids.filter((id) => typeof id === 'number'));
}

export interface SessionInfo {
  authid: string | undefined;
  authextra: Record<string, unknown>;
  transport: unknown;
}

/** undefined when the session is gone. */
export async function findSession(session: WampSession, id: number): Promise<SessionInfo | undefined> {
  try {
    const info = (await session.call(metaUris.sessionGet, [id], {})) as Partial<SessionInfo> | null;
    return info
      ? { authid: info.authid, authextra: info.authextra ?? {}, transport: info.transport }
      : undefined;
  } catch (error) {
    if (isNoSuchSession(error)) return undefined;
    throw error;
  }
}

/** Says goodbye to one session; one that is gone already is fine. */
export async function killSession(
  session: WampSession,
  id: number,
  reason: string,
  message: string,
): Promise<void> {
  try {
    await session.call(metaUris.sessionKill, [id], { reason, message });
  } catch (error) {
    if (!isNoSuchSession(error)) throw error;
  }
}

/** Says goodbye to every session of an authid; answers with how many there were. */
export async function killByAuthid(
  session: WampSession,
  authid: string,
  reason: string,
  message: string,
): Promise<number> {
  const killed = await session.call(metaUris.killByAuthid, [authid], { reason, message });
  return Array.isArray(killed) ? killed.length : 0;
}

function isNoSuchSession(error: unknown): boolean {
  return isWampFault(error) && error.error === 'wamp.error.no_such_session';
}
