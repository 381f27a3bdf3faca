/** What happens after a change of presence was committed: metrics, and topics for who subscribed. */
import type { NewEvent } from '../../common/db/queries/events.ts';
import { boardEventTopic } from '../../common/wamp/uris.ts';
import type { Publisher } from '../live/publisher.ts';
import type { Metrics } from '../metrics.ts';

export interface PresenceChanges {
  announce(events: readonly NewEvent[]): void;
}

export function createPresenceChanges(publisher: Publisher, metrics: Metrics): PresenceChanges {
  return {
    announce(events) {
      for (const { tenantId, boardUuid, payload } of events) {
        metrics.presenceChanges.inc({ reason: String(payload.reason) });
        if (boardUuid === null) continue;
        publisher.publish(boardEventTopic(tenantId, boardUuid, 'presence'), payload);
      }
    },
  };
}
