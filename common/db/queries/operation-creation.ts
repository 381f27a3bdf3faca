/**
 * Making an operation: its row, its targets, whose turn it is, and what happened; all of it in the
 * caller's transaction. Used by the api and by the conductor's schedules, so that both make the same.
 *
 * Many boards do not fit into one transaction: beyond `inlineTargets` the operation is `preparing`,
 * its boards wait in `pending_boards`, in their order, and a conductor writes the targets bit by bit.
 */
import type { EntityManager } from 'typeorm';
import { planWaves, type RolloutOptions } from '../../operations/rollout.ts';
import type { OperationState } from '../../operations/states.ts';
import type { DailyWindow } from '../../operations/window.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import { timeUuid } from '../../runtime/time-uuid.ts';
import type { Delivery } from '../entities/operations.ts';
import { readyBoards } from './board-queues.ts';
import type { NewEvent } from './events.ts';
import { insertOperationEvents } from './operation-events.ts';
import type { TargetChoice } from './operation-targets.ts';

/** Targets that are written with the operation. */
export const inlineTargets = 1000;

export interface NewTarget {
  uuid: string;
  safety: string | null;
}

export interface OperationSpec {
  /** Left out, a new one. */
  id?: string;
  tenantId: string;
  procedure: string;
  kwargs: JsonObject;
  /** As it was asked for. */
  target: TargetChoice;
  delivery: Delivery;
  window?: DailyWindow | null;
  rollout?: RolloutOptions | null;
  /** No target begins before. */
  notBefore?: Date | null;
  deadlineAt: Date;
  attempts: number;
  parallel: boolean;
  /** `user:<id>`, `key:<id>` or `schedule:<id>`. */
  createdBy: string;
  scheduleId?: string | null;
  dueAt?: Date | null;
  /** `included` of resolveTargets: the waves of a rollout take them in this order. */
  boards: readonly NewTarget[];
  /** Further evidence of the event `created`. */
  evidence?: JsonObject;
}

export interface InsertedOperation {
  id: string;
  state: OperationState;
  /** To be given to appendEvents as the last statement of the transaction. */
  events: NewEvent[];
}

/** After the commit the caller wakes a conductor for the operation and its boards. */
export async function insertOperation(
  manager: EntityManager,
  spec: OperationSpec,
): Promise<InsertedOperation> {
  const id = spec.id ?? timeUuid();
  const { boards, tenantId, deadlineAt, notBefore = null } = spec;
  const isLarge = boards.length > inlineTargets;
  const state: OperationState = isLarge ? 'preparing' : 'active';
  await insertOperationRow(manager, id, state, spec);
  if (spec.rollout) await insertRolloutRow(manager, id, spec.rollout, spec);
  if (!isLarge) {
    const waves = spec.rollout ? waveOfEach(boards.length, spec.rollout) : undefined;
    const targets = boards.map((each, index) => ({ ...each, wave: waves?.[index] ?? null }));
    await insertTargets(manager, { id, tenantId, deadlineAt, notBefore }, targets);
  }
  const evidence = { by: spec.createdBy, targets: boards.length, ...spec.evidence };
  await insertOperationEvents(manager, [{ operationId: id, boardUuid: null, kind: 'created', evidence }]);
  const payload = { operation: id, state, at: new Date().toISOString() };
  return { id, state, events: [{ tenantId, boardUuid: null, type: 'operation', payload }] };
}

/** The wave (from 1) of each of so many boards, in their order. */
export function waveOfEach(boards: number, options: Pick<RolloutOptions, 'waves'>): number[] {
  return planWaves(boards, options).flatMap((size, index) => Array<number>(size).fill(index + 1));
}

/**
 * Target rows, and their boards' queues. A target with a wave is held back until the rollout lets it
 * in. May be repeated: those that are there already stay as they are.
 */
export async function insertTargets(
  manager: EntityManager,
  operation: { id: string; tenantId: string; deadlineAt: Date; notBefore?: Date | null },
  targets: readonly (NewTarget & { wave: number | null })[],
): Promise<void> {
  const { id, tenantId, deadlineAt, notBefore = null } = operation;
  // In one order everywhere: two transactions never wait for each other.
  const sorted = [...targets].sort((left, right) => (left.uuid < right.uuid ? -1 : 1));
  for (let from = 0; from < sorted.length; from += inlineTargets) {
    const part = sorted.slice(from, from + inlineTargets);
    await manager.query(
      `INSERT INTO operation_targets
         (board_uuid, operation_id, tenant_id, queue, state, wave, safety, not_before, deadline_at, created_at, updated_at)
       VALUES ${part.map(() => "(?, ?, ?, ?, 'queued', ?, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))").join(', ')}
       ON DUPLICATE KEY UPDATE operation_id = operation_targets.operation_id`,
      part.flatMap(({ uuid, safety, wave }) => [
        uuid,
        id,
        tenantId,
        wave === null ? 1 : 0,
        wave,
        safety,
        notBefore,
        deadlineAt,
      ]),
    );
  }
  await readyBoards(
    manager,
    sorted.filter(({ wave }) => wave === null).map(({ uuid }) => ({ boardUuid: uuid, tenantId })),
  );
}

/** Safety classes that boards published for a procedure, for targets whose boards were only named. */
export async function findSafety(
  manager: EntityManager,
  procedure: string,
  boardUuids: readonly string[],
): Promise<Map<string, string>> {
  if (boardUuids.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT board_uuid AS uuid, JSON_UNQUOTE(JSON_EXTRACT(contract, '$.safety')) AS safety
     FROM procedure_contracts WHERE name = ? AND board_uuid IN (?)`,
    [procedure, boardUuids],
  )) as { uuid: string; safety: string | null }[];
  return new Map(rows.flatMap(({ uuid, safety }) => (safety === null ? [] : [[uuid, safety]])));
}

async function insertOperationRow(
  manager: EntityManager,
  id: string,
  state: OperationState,
  spec: OperationSpec,
): Promise<void> {
  const columns = {
    id,
    tenant_id: spec.tenantId,
    procedure_name: spec.procedure,
    kwargs: JSON.stringify(spec.kwargs),
    target: JSON.stringify(spec.target),
    delivery: spec.delivery,
    daily_window: spec.window ? JSON.stringify(spec.window) : null,
    state,
    not_before: spec.notBefore ?? null,
    deadline_at: spec.deadlineAt,
    max_attempts: spec.attempts,
    parallel: spec.parallel ? 1 : 0,
    target_count: spec.boards.length,
    pending_boards: state === 'preparing' ? JSON.stringify(spec.boards.map(({ uuid }) => uuid)) : null,
    schedule_id: spec.scheduleId ?? null,
    due_at: spec.dueAt ?? null,
    created_by: spec.createdBy,
  };
  const names = Object.keys(columns);
  await manager.query(
    `INSERT INTO operations (${names.join(', ')}, created_at, updated_at)
     VALUES (${names.map(() => '?').join(', ')}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    Object.values(columns),
  );
}

async function insertRolloutRow(
  manager: EntityManager,
  operationId: string,
  options: RolloutOptions,
  { tenantId, boards }: OperationSpec,
): Promise<void> {
  // Before the first wave nothing runs: a conductor opens it, unless somebody has to approve it first.
  const waits = options.approval !== 'none';
  const waves = planWaves(boards.length, options).length;
  await manager.query(
    `INSERT INTO rollouts (operation_id, tenant_id, state, reason, options, waves, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [
      operationId,
      tenantId,
      waits ? 'waiting' : 'running',
      waits ? `wave 1 of ${waves} waits for approval` : null,
      JSON.stringify(options),
      waves,
    ],
  );
}
