/** Where the evaluation gets new readings from: the tenant's outbox, in the transaction that evaluates them. */
import type { EntityManager } from 'typeorm';
import type { WatchedReading } from '../../common/alarms/signals.ts';

/** New readings of one stream, in the order that they were stored. */
export interface NewReadings {
  boardUuid: string;
  streamId: number;
  stream: string;
  readings: WatchedReading[];
}

export interface TakenReadings {
  streams: NewReadings[];
  /** True when nothing more waits. */
  isDrained: boolean;
  /** When the oldest of them was stored, epoch milliseconds of the database's clock. */
  storedAt: number | undefined;
  /** Takes them out of the outbox. */
  drop(): Promise<void>;
}

export interface AlarmFeed {
  /** Tenants with readings that wait for their rules. */
  findTenants(manager: EntityManager): Promise<string[]>;
  /** So many readings, or one batch that has more. */
  take(manager: EntityManager, tenantId: string, maxReadings: number): Promise<TakenReadings>;
}
