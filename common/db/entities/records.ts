/** Rows that record what happened: events for live listeners, audit, answers kept for repeats. */
import { EntitySchema } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, hash, json, nullable, text, time, uuid } from './columns.ts';

export interface EventRow {
  id: number;
  tenantId: string;
  boardUuid: string | null;
  /** `presence` today. */
  type: string;
  payload: JsonObject;
  createdAt: Date;
}

export const EventEntity = new EntitySchema<EventRow>({
  name: 'Event',
  tableName: 'events',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    tenantId: uuid('tenant_id'),
    boardUuid: uuid('board_uuid', nullable),
    type: ascii('type', 40),
    payload: json('payload'),
    createdAt: time('created_at', { default: () => 'CURRENT_TIMESTAMP(3)' }),
  },
  indices: [{ name: 'ix_events_created', columns: ['createdAt'] }],
});

export interface IdempotencyKey {
  principal: string;
  keyHash: string;
  operationId: string;
  requestHash: string;
  status: number;
  /** The first answer, encrypted under the client's key: it may hold a code that is shown once. */
  answer: Buffer;
  createdAt: Date;
  expiresAt: Date;
}

export const IdempotencyKeyEntity = new EntitySchema<IdempotencyKey>({
  name: 'IdempotencyKey',
  tableName: 'idempotency_keys',
  columns: {
    principal: ascii('principal', 60, { primary: true }),
    keyHash: hash('key_hash', { primary: true }),
    operationId: ascii('operation_id', 60),
    requestHash: hash('request_hash'),
    status: { name: 'status', type: 'smallint', unsigned: true },
    answer: { name: 'answer', type: 'blob' },
    createdAt: time('created_at'),
    expiresAt: time('expires_at'),
  },
  indices: [{ name: 'ix_idempotency_keys_expires', columns: ['expiresAt'] }],
});

export interface AuditEvent {
  id: number;
  at: Date;
  tenantId: string | null;
  /** user, key, board, enrolee, process, or anonymous. */
  actorKind: string;
  actor: string;
  /** operationId, or a name such as `board-join`. */
  action: string;
  targetKind: string | null;
  target: string | null;
  remoteAddress: string | null;
  /** `ok`, or the error code of the refusal. */
  result: string;
  detail: JsonObject | null;
}

export const AuditEventEntity = new EntitySchema<AuditEvent>({
  name: 'AuditEvent',
  tableName: 'audit_events',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    at: time('at'),
    tenantId: uuid('tenant_id', nullable),
    actorKind: ascii('actor_kind', 20),
    actor: text('actor', 150),
    action: ascii('action', 60),
    targetKind: ascii('target_kind', 30, nullable),
    target: text('target', 150, nullable),
    remoteAddress: ascii('remote_address', 100, nullable),
    result: ascii('result', 40),
    detail: json('detail', nullable),
  },
  indices: [
    { name: 'ix_audit_events_tenant', columns: ['tenantId', 'at'] },
    { name: 'ix_audit_events_at', columns: ['at'] },
  ],
});
