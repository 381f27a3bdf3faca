/** Readings on their way to who gets them: sinks and alarm rules. */
import { EntitySchema } from 'typeorm';
import { ascii, big, nullable, time, uuid, whole } from './columns.ts';
import { ofTenant } from './foreign-keys.ts';

export type ConsumerKind = 'sink' | 'alarms';

export interface ReadingConsumer {
  /** Of the sink; of a tenant's alarm rules an id of its own. */
  id: string;
  tenantId: string;
  kind: ConsumerKind;
  /** Readings that left its outbox, lost ones among them. */
  taken: number;
  /** Given up, because it was too far behind. */
  lost: number;
  lostAt: Date | null;
  createdAt: Date;
}

export const ReadingConsumerEntity = new EntitySchema<ReadingConsumer>({
  name: 'ReadingConsumer',
  tableName: 'reading_consumers',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    kind: ascii('kind', 20),
    taken: big('taken', { default: 0 }),
    lost: big('lost', { default: 0 }),
    lostAt: time('lost_at', nullable),
    createdAt: time('created_at'),
  },
  indices: [{ name: 'ix_reading_consumers_tenant', columns: ['tenantId'] }],
  foreignKeys: ofTenant('fk_reading_consumers_tenant'),
});

/** One stored batch. */
export interface ReadingOutbox {
  id: number;
  tenantId: string;
  boardUuid: string;
  spoolId: number;
  fromSeq: number;
  readingCount: number;
  /** JSON of OutboxPayload, see common/db/queries/outbox.ts. */
  payload: string;
  createdAt: Date;
}

export const ReadingOutboxEntity = new EntitySchema<ReadingOutbox>({
  name: 'ReadingOutbox',
  tableName: 'reading_outbox',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    tenantId: uuid('tenant_id'),
    boardUuid: uuid('board_uuid'),
    spoolId: whole('spool_id'),
    fromSeq: big('from_seq'),
    readingCount: whole('reading_count'),
    payload: { name: 'payload', type: 'mediumtext', charset: 'utf8mb4', collation: 'utf8mb4_bin' },
    createdAt: time('created_at'),
  },
});

export interface OutboxDelivery {
  consumerId: string;
  outboxId: number;
  readingCount: number;
  createdAt: Date;
}

export const OutboxDeliveryEntity = new EntitySchema<OutboxDelivery>({
  name: 'OutboxDelivery',
  tableName: 'outbox_deliveries',
  columns: {
    consumerId: uuid('consumer_id', { primary: true }),
    outboxId: big('outbox_id', { primary: true }),
    readingCount: whole('reading_count'),
    createdAt: time('created_at'),
  },
  indices: [{ name: 'ix_outbox_deliveries_outbox', columns: ['outboxId'] }],
});
