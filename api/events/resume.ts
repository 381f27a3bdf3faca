/**
 * What a listener missed while it was away. It starts one window before the cursor, because rows of
 * that time may have become visible after the listener left: so some events come again, under the
 * same id.
 */
import type { Database } from '../../common/db/database.ts';
import { eventsKeptMs } from '../../common/db/queries/events.ts';
import type { CursorCodec } from './event-cursor.ts';
import { type EventRecord, readEventsSince } from './event-rows.ts';
import { eventWindowMs } from './event-window.ts';

/** `resync`: why the listener must read the state again instead. */
export type Resume = { events: EventRecord[] } | { resync: 'unknown-cursor' | 'too-old' | 'too-many' };

/** More than this is slower to replay than to read the state again. */
export const maxResumedEvents = 5000;

export async function findMissed(
  database: Database,
  codec: CursorCodec,
  request: { after: string; tenants: readonly string[] | null; now: number },
): Promise<Resume> {
  const position = codec.parse(request.after);
  if (position === undefined) return { resync: 'unknown-cursor' };
  const since = position.at - eventWindowMs;
  if (since < request.now - eventsKeptMs) return { resync: 'too-old' };
  const events = await database.read((manager) =>
    readEventsSince(manager, since, request.tenants, maxResumedEvents + 1),
  );
  if (events.length > maxResumedEvents) return { resync: 'too-many' };
  return { events: events.filter(({ id }) => id !== position.id) };
}
