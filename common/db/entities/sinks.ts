/** Where readings flow on to, and what was refused there. */
import { EntitySchema } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, json, nullable, text, time, uuid, whole } from './columns.ts';
import { goesWith, ofTenant } from './foreign-keys.ts';

export interface StoredSink {
  id: string;
  tenantId: string;
  name: string;
  /** As in common/sinks/settings.ts. */
  kind: string;
  settings: JsonObject;
  /** JSON, encrypted. */
  secrets: Buffer | null;
  filter: JsonObject;
  batchSize: number;
  maxAgeMs: number;
  state: 'active' | 'paused' | 'disabled';
  stateReason: string | null;
  delivered: number;
  rejected: number;
  /** Passed over by the filter. */
  skipped: number;
  /** Sent again, because nobody knew whether they had been taken. */
  duplicate: number;
  /** Dead letters that were too many. */
  droppedLetters: number;
  failingSince: Date | null;
  retryAt: Date | null;
  lastError: string | null;
  lastErrorAt: Date | null;
  lastDeliveredAt: Date | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const SinkEntity = new EntitySchema<StoredSink>({
  name: 'Sink',
  tableName: 'sinks',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    kind: ascii('kind', 20),
    settings: json('settings'),
    secrets: { name: 'secrets', type: 'blob', nullable: true },
    filter: json('filter'),
    batchSize: whole('batch_size'),
    maxAgeMs: whole('max_age_ms'),
    state: ascii('state', 20, { default: 'active' }),
    stateReason: text('state_reason', 300, nullable),
    delivered: big('delivered', { default: 0 }),
    rejected: big('rejected', { default: 0 }),
    skipped: big('skipped', { default: 0 }),
    duplicate: big('duplicate', { default: 0 }),
    droppedLetters: big('dropped_letters', { default: 0 }),
    failingSince: time('failing_since', nullable),
    retryAt: time('retry_at', nullable),
    lastError: text('last_error', 300, nullable),
    lastErrorAt: time('last_error_at', nullable),
    lastDeliveredAt: time('last_delivered_at', nullable),
    createdBy: ascii('created_by', 60),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'uq_sinks_name', columns: ['tenantId', 'name'], unique: true },
    { name: 'ix_sinks_state', columns: ['state'] },
  ],
  foreignKeys: ofTenant('fk_sinks_tenant'),
});

export interface SinkDeadLetter {
  id: number;
  sinkId: string;
  kind: string;
  reason: string;
  point: JsonObject;
  createdAt: Date;
}

export const SinkDeadLetterEntity = new EntitySchema<SinkDeadLetter>({
  name: 'SinkDeadLetter',
  tableName: 'sink_dead_letters',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    sinkId: uuid('sink_id'),
    kind: ascii('kind', 20),
    reason: text('reason', 300),
    point: json('point'),
    createdAt: time('created_at'),
  },
  indices: [{ name: 'ix_sink_dead_letters_sink', columns: ['sinkId', 'kind', 'id'] }],
  foreignKeys: goesWith('fk_sink_dead_letters_sink', 'Sink', 'sinkId', 'id'),
});
