/** Operations, their targets, queues, events and rollouts. */
import { EntitySchema } from 'typeorm';
import type { OperationState, RolloutState, TargetState } from '../../operations/states.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, flag, json, nullable, text, time, uuid, whole } from './columns.ts';

export const deliveries = ['now', 'when-online', 'window', 'rollout'] as const;
export type Delivery = (typeof deliveries)[number];

export interface OperationRow {
  id: string;
  tenantId: string;
  procedure: string;
  kwargs: JsonObject;
  /** As it was asked for. */
  target: JsonObject;
  delivery: Delivery;
  /** Of delivery `window`: `{from, to, timeZone}`. */
  dailyWindow: JsonObject | null;
  state: OperationState;
  deadlineAt: Date;
  maxAttempts: number;
  /** Runs beside other operations of its boards instead of in their order. */
  parallel: boolean;
  targetCount: number;
  /** uuids that have no target row yet: too many for one transaction. */
  pendingBoards: string[] | null;
  /** No target begins before. */
  notBefore: Date | null;
  scheduleId: string | null;
  dueAt: Date | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
  endedAt: Date | null;
}

export const OperationEntity = new EntitySchema<OperationRow>({
  name: 'Operation',
  tableName: 'operations',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    procedure: ascii('procedure_name', 100),
    kwargs: json('kwargs'),
    target: json('target'),
    delivery: ascii('delivery', 20),
    dailyWindow: json('daily_window', nullable),
    state: ascii('state', 20),
    deadlineAt: time('deadline_at'),
    maxAttempts: whole('max_attempts', { default: 1 }),
    parallel: flag('parallel', { default: 0 }),
    targetCount: whole('target_count', { default: 0 }),
    pendingBoards: json('pending_boards', nullable),
    notBefore: time('not_before', nullable),
    scheduleId: uuid('schedule_id', nullable),
    dueAt: time('due_at', nullable),
    createdBy: ascii('created_by', 60),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
    endedAt: time('ended_at', nullable),
  },
  indices: [
    { name: 'ix_operations_tenant', columns: ['tenantId', 'createdAt', 'id'] },
    { name: 'ix_operations_created', columns: ['createdAt', 'id'] },
    { name: 'ix_operations_state', columns: ['tenantId', 'state', 'id'] },
    { name: 'ix_operations_open', columns: ['state', 'targetCount', 'id'] },
    { name: 'ix_operations_schedule', columns: ['scheduleId', 'id'] },
    { name: 'ix_operations_ended', columns: ['endedAt'] },
  ],
});

export interface OperationTargetRow {
  boardUuid: string;
  operationId: string;
  tenantId: string;
  /** 1 = in the queue of its board, 0 = held back, null = ended. */
  queue: 0 | 1 | null;
  state: TargetState;
  version: number;
  wave: number | null;
  /** The execution that is meant; 0 before the first. */
  attempt: number;
  /** How often this attempt was sent. */
  deliveries: number;
  safety: string | null;
  notBefore: Date | null;
  deadlineAt: Date;
  cancelRequested: boolean;
  /** Board session that it was last sent to. */
  sessionId: string | null;
  /** The board's journal that it was first sent to. */
  journalEpoch: string | null;
  progress: JsonObject | null;
  result: unknown;
  error: JsonObject | null;
  dispatchedAt: Date | null;
  acceptedAt: Date | null;
  endedAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

export const OperationTargetEntity = new EntitySchema<OperationTargetRow>({
  name: 'OperationTarget',
  tableName: 'operation_targets',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    operationId: uuid('operation_id', { primary: true }),
    tenantId: uuid('tenant_id'),
    queue: { name: 'queue', type: 'tinyint', nullable: true },
    state: ascii('state', 20),
    version: whole('version', { default: 1 }),
    wave: whole('wave', nullable),
    attempt: whole('attempt', { default: 0 }),
    deliveries: whole('deliveries', { default: 0 }),
    safety: ascii('safety', 20, nullable),
    notBefore: time('not_before', nullable),
    deadlineAt: time('deadline_at'),
    cancelRequested: flag('cancel_requested', { default: 0 }),
    sessionId: uuid('session_id', nullable),
    journalEpoch: uuid('journal_epoch', nullable),
    progress: json('progress', nullable),
    result: json('result', nullable),
    error: json('error', nullable),
    dispatchedAt: time('dispatched_at', nullable),
    acceptedAt: time('accepted_at', nullable),
    endedAt: time('ended_at', nullable),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'ix_operation_targets_queue', columns: ['boardUuid', 'queue', 'operationId'] },
    { name: 'ix_operation_targets_operation', columns: ['operationId', 'state', 'boardUuid'] },
    { name: 'ix_operation_targets_wave', columns: ['operationId', 'wave', 'queue', 'state'] },
    { name: 'ix_operation_targets_deadline', columns: ['queue', 'deadlineAt'] },
  ],
});

export interface BoardQueueRow {
  boardUuid: string;
  tenantId: string;
  /** 1 = has something to do at nextAt, null = waits for its board or has nothing open. */
  ready: 1 | null;
  /** 0 = live, 1 = drain: what waited for the board to come back, let through at a set rate. */
  lane: 0 | 1;
  nextAt: Date | null;
  hasOpen: boolean;
  /** Rises with each change from outside, so that whoever holds the queue sees that something came in. */
  mark: number;
  owner: string | null;
  fence: number;
  untilAt: Date | null;
}

export const BoardQueueEntity = new EntitySchema<BoardQueueRow>({
  name: 'BoardQueue',
  tableName: 'board_queues',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    tenantId: uuid('tenant_id'),
    ready: { name: 'ready', type: 'tinyint', nullable: true },
    lane: { name: 'lane', type: 'tinyint', default: 0 },
    nextAt: time('next_at', nullable),
    hasOpen: flag('has_open', { default: 0 }),
    mark: big('mark', { default: 0 }),
    owner: uuid('owner', nullable),
    fence: big('fence', { default: 0 }),
    untilAt: time('until_at', nullable),
  },
  indices: [{ name: 'ix_board_queues_ready', columns: ['ready', 'tenantId', 'lane', 'nextAt'] }],
});

export interface OperationEventRow {
  id: number;
  operationId: string;
  boardUuid: string | null;
  kind: string;
  attempt: number | null;
  evidence: JsonObject;
  at: Date;
}

export const OperationEventEntity = new EntitySchema<OperationEventRow>({
  name: 'OperationEvent',
  tableName: 'operation_events',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    operationId: uuid('operation_id'),
    boardUuid: uuid('board_uuid', nullable),
    kind: ascii('kind', 30),
    attempt: whole('attempt', nullable),
    evidence: json('evidence'),
    at: time('at'),
  },
  indices: [
    { name: 'ix_operation_events_operation', columns: ['operationId', 'id'] },
    { name: 'ix_operation_events_board', columns: ['operationId', 'boardUuid', 'id'] },
  ],
});

export interface RolloutRow {
  operationId: string;
  tenantId: string;
  state: RolloutState;
  reason: string | null;
  options: JsonObject;
  waves: number;
  /** The wave that is open, from 1; 0 = none yet. */
  wave: number;
  /** Targets of the open wave that were let into their queues. */
  released: number;
  releasedAt: Date | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const RolloutEntity = new EntitySchema<RolloutRow>({
  name: 'Rollout',
  tableName: 'rollouts',
  columns: {
    operationId: uuid('operation_id', { primary: true }),
    tenantId: uuid('tenant_id'),
    state: ascii('state', 20),
    reason: text('reason', 300, nullable),
    options: json('options'),
    waves: whole('waves'),
    wave: whole('wave', { default: 0 }),
    released: whole('released', { default: 0 }),
    releasedAt: time('released_at', nullable),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [{ name: 'ix_rollouts_state', columns: ['state', 'operationId'] }],
});

export interface ArtifactRow {
  id: string;
  tenantId: string;
  boardUuid: string;
  operationId: string;
  attempt: number;
  name: string;
  mediaType: string;
  size: number;
  sha256: string;
  received: number;
  /** receiving, complete, failed (its bytes did not have its hash). */
  state: string;
  createdAt: Date;
  updatedAt: Date;
  expiresAt: Date;
}

export const ArtifactEntity = new EntitySchema<ArtifactRow>({
  name: 'Artifact',
  tableName: 'artifacts',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    boardUuid: uuid('board_uuid'),
    operationId: uuid('operation_id'),
    attempt: whole('attempt'),
    name: text('name', 100, { collation: 'utf8mb4_bin' }),
    mediaType: ascii('media_type', 100),
    size: big('size'),
    sha256: { name: 'sha256', type: 'char', length: 64, charset: 'ascii', collation: 'ascii_bin' },
    received: big('received', { default: 0 }),
    state: ascii('state', 20),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
    expiresAt: time('expires_at'),
  },
  indices: [
    {
      name: 'uq_artifacts_name',
      columns: ['operationId', 'boardUuid', 'attempt', 'name'],
      unique: true,
    },
    { name: 'ix_artifacts_file', columns: ['sha256'] },
    { name: 'ix_artifacts_expires', columns: ['expiresAt'] },
    { name: 'ix_artifacts_tenant', columns: ['tenantId', 'id'] },
  ],
});
