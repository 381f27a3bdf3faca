/** What works by itself for a tenant: fleets, schedules, webhooks; and what it may use. */
import { EntitySchema, type EntitySchemaOptions } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, flag, json, nullable, text, time, uuid, whole } from './columns.ts';

const ofTenant = (name: string): NonNullable<EntitySchemaOptions<object>['foreignKeys']> => [
  {
    name,
    target: 'Tenant',
    columnNames: ['tenantId'],
    referencedColumnNames: ['id'],
    onDelete: 'CASCADE',
    onUpdate: 'NO ACTION',
  },
];

export interface Fleet {
  id: string;
  tenantId: string;
  name: string;
  description: string | null;
  /** null = an explicit list, in fleet_boards. */
  selector: string | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const FleetEntity = new EntitySchema<Fleet>({
  name: 'Fleet',
  tableName: 'fleets',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    description: text('description', 500, nullable),
    selector: text('selector', 1000, nullable),
    createdBy: ascii('created_by', 60),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [{ name: 'uq_fleets_name', columns: ['tenantId', 'name'], unique: true }],
  foreignKeys: ofTenant('fk_fleets_tenant'),
});

export interface FleetBoard {
  fleetId: string;
  boardUuid: string;
}

export const FleetBoardEntity = new EntitySchema<FleetBoard>({
  name: 'FleetBoard',
  tableName: 'fleet_boards',
  columns: {
    fleetId: uuid('fleet_id', { primary: true }),
    boardUuid: uuid('board_uuid', { primary: true }),
  },
  indices: [{ name: 'ix_fleet_boards_board', columns: ['boardUuid'] }],
  foreignKeys: [
    {
      name: 'fk_fleet_boards_fleet',
      target: 'Fleet',
      columnNames: ['fleetId'],
      referencedColumnNames: ['id'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
    {
      name: 'fk_fleet_boards_board',
      target: 'Board',
      columnNames: ['boardUuid'],
      referencedColumnNames: ['uuid'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
  ],
});

export interface Schedule {
  id: string;
  tenantId: string;
  name: string;
  /** active, paused, ended (a one-time schedule that fired). */
  state: string;
  timing: JsonObject;
  jitterSeconds: number;
  overlap: string;
  catchUp: string;
  catchUpLimit: number;
  /** Handed to its boards, which run it by themselves. */
  offline: boolean;
  /** Body of the operations that it makes, with `deadlineSeconds` in place of `deadline`. */
  operation: JsonObject;
  nextAt: Date | null;
  lastDueAt: Date | null;
  lastError: string | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const ScheduleEntity = new EntitySchema<Schedule>({
  name: 'Schedule',
  tableName: 'schedules',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    state: ascii('state', 20),
    timing: json('timing'),
    jitterSeconds: whole('jitter_seconds', { default: 0 }),
    overlap: ascii('overlap', 20),
    catchUp: ascii('catch_up', 10),
    catchUpLimit: whole('catch_up_limit', { default: 1 }),
    offline: flag('offline', { default: 0 }),
    operation: json('operation'),
    nextAt: time('next_at', nullable),
    lastDueAt: time('last_due_at', nullable),
    lastError: text('last_error', 500, nullable),
    createdBy: ascii('created_by', 60),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'uq_schedules_name', columns: ['tenantId', 'name'], unique: true },
    { name: 'ix_schedules_due', columns: ['state', 'nextAt'] },
    { name: 'ix_schedules_offline', columns: ['offline', 'state', 'tenantId'] },
  ],
  foreignKeys: ofTenant('fk_schedules_tenant'),
});

/** Unique (schedule, due time): whoever inserts it fires it. */
export interface ScheduleRun {
  scheduleId: string;
  dueAt: Date;
  operationId: string | null;
  outcome: string;
  detail: string | null;
  at: Date;
}

export const ScheduleRunEntity = new EntitySchema<ScheduleRun>({
  name: 'ScheduleRun',
  tableName: 'schedule_runs',
  columns: {
    scheduleId: uuid('schedule_id', { primary: true }),
    dueAt: time('due_at', { primary: true }),
    operationId: uuid('operation_id', nullable),
    outcome: ascii('outcome', 20),
    detail: text('detail', 500, nullable),
    at: time('at'),
  },
  indices: [{ name: 'ix_schedule_runs_at', columns: ['at'] }],
});

export interface BoardScheduleList {
  boardUuid: string;
  tenantId: string;
  handedHash: string;
  /** The board's journal that has them; null = not known then. */
  handedEpoch: string | null;
  handedAt: Date;
}

export const BoardScheduleListEntity = new EntitySchema<BoardScheduleList>({
  name: 'BoardScheduleList',
  tableName: 'board_schedules',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    tenantId: uuid('tenant_id'),
    handedHash: ascii('handed_hash', 64),
    handedEpoch: uuid('handed_epoch', nullable),
    handedAt: time('handed_at'),
  },
  indices: [{ name: 'ix_board_schedules_tenant', columns: ['tenantId'] }],
  foreignKeys: [
    {
      name: 'fk_board_schedules_board',
      target: 'Board',
      columnNames: ['boardUuid'],
      referencedColumnNames: ['uuid'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
  ],
});

export interface Webhook {
  id: string;
  tenantId: string;
  name: string;
  url: string;
  /** Event types that are sent. */
  types: string[];
  /** Key of the signatures, encrypted. */
  secret: Buffer;
  /** active, disabled. */
  state: string;
  disabledReason: string | null;
  failingSince: Date | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const WebhookEntity = new EntitySchema<Webhook>({
  name: 'Webhook',
  tableName: 'webhooks',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    url: text('url', 500),
    types: json('types'),
    secret: { name: 'secret', type: 'blob' },
    state: ascii('state', 20),
    disabledReason: text('disabled_reason', 300, nullable),
    failingSince: time('failing_since', nullable),
    createdBy: ascii('created_by', 60),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'uq_webhooks_name', columns: ['tenantId', 'name'], unique: true },
    { name: 'ix_webhooks_state', columns: ['state'] },
  ],
  foreignKeys: ofTenant('fk_webhooks_tenant'),
});

export interface WebhookDelivery {
  id: number;
  webhookId: string;
  eventId: number;
  type: string;
  payload: JsonObject;
  /** pending, delivered, failed (given up). */
  state: string;
  attempts: number;
  nextAt: Date | null;
  /** No attempt is made after this. */
  giveUpAt: Date;
  /** HTTP status of the last attempt. */
  status: number | null;
  error: string | null;
  durationMs: number | null;
  createdAt: Date;
  attemptedAt: Date | null;
}

export const WebhookDeliveryEntity = new EntitySchema<WebhookDelivery>({
  name: 'WebhookDelivery',
  tableName: 'webhook_deliveries',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    webhookId: uuid('webhook_id'),
    eventId: big('event_id'),
    type: ascii('type', 40),
    payload: json('payload'),
    state: ascii('state', 20),
    attempts: whole('attempts', { default: 0 }),
    nextAt: time('next_at', nullable),
    giveUpAt: time('give_up_at'),
    status: { name: 'status', type: 'smallint', unsigned: true, nullable: true },
    error: text('error', 300, nullable),
    durationMs: whole('duration_ms', nullable),
    createdAt: time('created_at'),
    attemptedAt: time('attempted_at', nullable),
  },
  indices: [
    { name: 'uq_webhook_deliveries_event', columns: ['webhookId', 'eventId'], unique: true },
    { name: 'ix_webhook_deliveries_due', columns: ['webhookId', 'state', 'nextAt'] },
    { name: 'ix_webhook_deliveries_log', columns: ['webhookId', 'id'] },
    { name: 'ix_webhook_deliveries_created', columns: ['createdAt'] },
  ],
  foreignKeys: [
    {
      name: 'fk_webhook_deliveries_webhook',
      target: 'Webhook',
      columnNames: ['webhookId'],
      referencedColumnNames: ['id'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
  ],
});

export interface EventCursor {
  name: string;
  readUntil: Date;
}

export const EventCursorEntity = new EntitySchema<EventCursor>({
  name: 'EventCursor',
  tableName: 'event_cursors',
  columns: { name: ascii('name', 60, { primary: true }), readUntil: time('read_until') },
});

export interface TenantUsage {
  tenantId: string;
  /** Days since 1970, UTC. */
  day: number;
  operations: number;
  readings: number;
}

export const TenantUsageEntity = new EntitySchema<TenantUsage>({
  name: 'TenantUsage',
  tableName: 'tenant_usage',
  columns: {
    tenantId: uuid('tenant_id', { primary: true }),
    day: whole('day', { primary: true }),
    operations: big('operations', { default: 0 }),
    readings: big('readings', { default: 0 }),
  },
});
