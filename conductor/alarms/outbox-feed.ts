/** The alarm rules of a tenant are one consumer of its readings, of kind `alarms`. */
import type { EntityManager } from 'typeorm';
import { alarmConsumerKind } from '../../common/db/queries/alarm-rules.ts';
import { dropDelivered, type OutboxEntry, takeFromOutbox } from '../../common/db/queries/outbox.ts';
import type { AlarmFeed, NewReadings, TakenReadings } from './feed.ts';

const nothing: TakenReadings = {
  streams: [],
  isDrained: true,
  storedAt: undefined,
  drop: async () => undefined,
};

export function createOutboxFeed(): AlarmFeed {
  return {
    async findTenants(manager) {
      const rows = (await manager.query(
        `SELECT c.tenant_id AS id FROM reading_consumers c
         WHERE c.kind = ? AND EXISTS (SELECT 1 FROM outbox_deliveries d WHERE d.consumer_id = c.id)`,
        [alarmConsumerKind],
      )) as { id: string }[];
      return rows.map(({ id }) => id);
    },

    async take(manager, tenantId, maxReadings) {
      const [consumer] = (await manager.query(
        'SELECT id FROM reading_consumers WHERE tenant_id = ? AND kind = ?',
        [tenantId, alarmConsumerKind],
      )) as { id: string }[];
      const entries = consumer ? await takeFromOutbox(manager, consumer.id, maxReadings) : [];
      const last = entries.at(-1);
      if (!consumer || !last) return nothing;
      return {
        streams: toStreams(entries),
        isDrained: !(await hasMore(manager, consumer.id, last.id)),
        storedAt: Math.min(...entries.map(({ createdAt }) => createdAt)),
        async drop() {
          await dropDelivered(
            manager,
            consumer.id,
            entries.map(({ id }) => id),
          );
        },
      };
    },
  };
}

async function hasMore(manager: EntityManager, consumerId: string, lastId: number): Promise<boolean> {
  const rows = (await manager.query(
    'SELECT 1 FROM outbox_deliveries WHERE consumer_id = ? AND outbox_id > ? LIMIT 1',
    [consumerId, lastId],
  )) as unknown[];
  return rows.length > 0;
}

function toStreams(entries: readonly OutboxEntry[]): NewReadings[] {
  const byId = new Map<number, NewReadings>();
  for (const { boardUuid, streams, readings } of entries)
    for (const [index, at, value] of readings) {
      const stream = streams[index];
      if (!stream) continue;
      const news = byId.get(stream.id) ?? {
        boardUuid,
        streamId: stream.id,
        stream: stream.name,
        readings: [],
      };
      byId.set(stream.id, news);
      news.readings.push({ at, value });
    }
  return [...byId.values()];
}
