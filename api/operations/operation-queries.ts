/** Operations as clients see them: the row, its rollout, and its targets by state. */
import type { EntityManager } from 'typeorm';
import type { Delivery } from '../../common/db/entities/operations.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { SqlCondition } from '../../common/db/queries/label-selector.ts';
import type { OperationState, RolloutState, TargetState } from '../../common/operations/states.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';
import { cursorTime, type PageRequest } from '../http/paging.ts';
import { fitting, listTargets } from './target-queries.ts';

export interface OperationListRow {
  id: string;
  tenant: string;
  procedure: string;
  kwargs: string | JsonObject;
  target: string | JsonObject;
  delivery: Delivery;
  window: string | JsonObject | null;
  state: OperationState;
  deadline: Date;
  attempts: number;
  parallel: number;
  targetCount: number;
  schedule: string | null;
  dueAt: Date | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
  endedAt: Date | null;
  rolloutState: RolloutState | null;
  reason: string | null;
  options: string | JsonObject | null;
  wave: number;
  waves: number;
}

const columns = `o.id, o.tenant_id AS tenant, o.procedure_name AS \`procedure\`, o.kwargs, o.target, o.delivery,
  o.daily_window AS \`window\`, o.state, o.deadline_at AS deadline, o.max_attempts AS attempts, o.parallel,
  o.target_count AS targetCount, o.schedule_id AS schedule, o.due_at AS dueAt, o.created_by AS createdBy,
  o.version, o.created_at AS createdAt, o.updated_at AS updatedAt, o.ended_at AS endedAt,
  r.state AS rolloutState, r.reason, r.options, r.wave, r.waves`;
const rollout = 'LEFT JOIN rollouts r ON r.operation_id = o.id';

/** With so many targets at the most they are in the operation itself. */
export const shownTargets = 10;

/** The operation as clients see it; throws AppError `not-found`. */
export async function readOperation(manager: EntityManager, id: string): Promise<Schemas['Operation']> {
  const [row] = (await manager.query(`SELECT ${columns} FROM operations o ${rollout} WHERE o.id = ?`, [
    id,
  ])) as OperationListRow[];
  if (!row) throw new AppError('not-found', 'there is no such operation');
  if (row.targetCount > shownTargets)
    return toOperation(row, (await countTargets(manager, [id])).get(id), []);
  const targets = await listTargets(manager, id, { limit: shownTargets });
  const counts: TargetCounts = {};
  for (const { state } of targets) counts[state] = (counts[state] ?? 0) + 1;
  return toOperation(row, counts, targets);
}

export interface OperationListFilter {
  tenants: readonly string[] | 'all';
  /** uuid */
  board?: string | undefined;
  states?: readonly OperationState[] | undefined;
  procedure?: string | undefined;
  createdBy?: string | undefined;
  /** What the caller may know of; null = all. */
  onlyCreatedBy: string | null;
  schedule?: string | undefined;
  from?: Date | undefined;
  to?: Date | undefined;
}

/** Newest first. By the time of creation, because the ids of scheduled operations say nothing of it. */
export async function listOperationRows(
  manager: EntityManager,
  filter: OperationListFilter,
  page: PageRequest,
): Promise<OperationListRow[]> {
  const condition = filterCondition(filter, page);
  return manager.query(
    `SELECT ${columns} FROM ${tablesOf(filter)} ${rollout} WHERE ${condition.sql}
     ORDER BY o.created_at DESC, o.id DESC LIMIT ?`,
    [...condition.values, page.limit + 1],
  );
}

/** How many of the page's rows fit into so many bytes of arguments and targets; one in any case. */
export async function countFittingOperations(
  manager: EntityManager,
  filter: OperationListFilter,
  page: PageRequest,
  maxBytes: number,
): Promise<number> {
  // Arguments and named boards are limited: so few fit in any case.
  if (page.limit <= alwaysFitting) return page.limit;
  const condition = filterCondition(filter, page);
  const rows = (await manager.query(
    `SELECT OCTET_LENGTH(o.kwargs) + OCTET_LENGTH(o.target) AS bytes FROM ${tablesOf(filter)}
     WHERE ${condition.sql} ORDER BY o.created_at DESC, o.id DESC LIMIT ?`,
    [...condition.values, page.limit],
  )) as { bytes: number | string }[];
  return fitting(rows, page.limit, maxBytes);
}

const alwaysFitting = 20;

const tablesOf = ({ board }: OperationListFilter) =>
  board === undefined ? 'operations o' : 'operation_targets t JOIN operations o ON o.id = t.operation_id';

function filterCondition(filter: OperationListFilter, { after }: PageRequest): SqlCondition {
  const conditions: SqlCondition[] = [];
  const add = (sql: string, ...values: unknown[]) => void conditions.push({ sql, values });
  if (filter.tenants !== 'all') {
    if (filter.tenants.length === 0) return { sql: 'FALSE', values: [] };
    add('o.tenant_id IN (?)', filter.tenants);
  }
  if (filter.board !== undefined) add('t.board_uuid = ?', filter.board);
  if (filter.states) add('o.state IN (?)', filter.states);
  if (filter.procedure !== undefined) add('o.procedure_name = ?', filter.procedure);
  if (filter.createdBy !== undefined) add('o.created_by = ?', filter.createdBy);
  if (filter.onlyCreatedBy !== null) add('o.created_by = ?', filter.onlyCreatedBy);
  if (filter.schedule !== undefined) add('o.schedule_id = ?', filter.schedule);
  if (filter.from) add('o.created_at >= ?', filter.from);
  if (filter.to) add('o.created_at < ?', filter.to);
  if (after) {
    const at = cursorTime(after[0]);
    add('(o.created_at < ? OR (o.created_at = ? AND o.id < ?))', at, at, after[1] ?? '');
  }
  return {
    sql: conditions.map((each) => each.sql).join(' AND ') || 'TRUE',
    values: conditions.flatMap((each) => each.values),
  };
}

export type TargetCounts = Partial<Record<TargetState, number>>;

/** Of each operation, by an index alone. */
export async function countTargets(
  manager: EntityManager,
  operationIds: readonly string[],
): Promise<Map<string, TargetCounts>> {
  const counts = new Map<string, TargetCounts>();
  if (operationIds.length === 0) return counts;
  const rows = (await manager.query(
    `SELECT operation_id AS id, state, COUNT(*) AS count FROM operation_targets
     WHERE operation_id IN (?) GROUP BY operation_id, state`,
    [operationIds],
  )) as { id: string; state: TargetState; count: number | string }[];
  for (const { id, state, count } of rows) counts.set(id, { ...counts.get(id), [state]: Number(count) });
  return counts;
}

export function toOperation(
  row: OperationListRow,
  counts: TargetCounts = {},
  targets: Schemas['OperationTarget'][] = [],
): Schemas['Operation'] {
  const written = Object.values(counts).reduce((sum, count) => sum + count, 0);
  // Those that are still being written wait like any other.
  const unwritten = row.state === 'preparing' ? row.targetCount - written : 0;
  return {
    id: row.id,
    tenant: row.tenant,
    procedure: row.procedure,
    kwargs: fromJsonColumn<JsonObject | null>(row.kwargs) ?? {},
    target: fromJsonColumn<JsonObject | null>(row.target) ?? {},
    delivery: row.delivery,
    window: fromJsonColumn<Schemas['DailyWindow'] | null>(row.window),
    state: row.state,
    deadline: row.deadline.toISOString(),
    attempts: row.attempts,
    parallel: row.parallel === 1,
    targetCount: row.targetCount,
    counts: { ...counts, ...(unwritten > 0 && { queued: (counts.queued ?? 0) + unwritten }) },
    targets,
    rollout: toRollout(row),
    schedule: row.schedule,
    dueAt: row.dueAt?.toISOString() ?? null,
    createdBy: row.createdBy,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
    endedAt: row.endedAt?.toISOString() ?? null,
  };
}

function toRollout(row: OperationListRow): Schemas['Rollout'] | null {
  if (row.rolloutState === null) return null;
  return {
    state: row.rolloutState,
    reason: row.reason,
    wave: row.wave,
    waves: row.waves,
    options: fromJsonColumn<Schemas['RolloutOptions']>(row.options),
  };
}

const recentOperations = 1000;

/** Mean time from a board's word that it has it to the end, of the procedure's latest successes. */
export async function findProcedureSeconds(
  manager: EntityManager,
  tenantId: string,
  procedure: string,
): Promise<number | undefined> {
  const [row] = (await manager.query(
    `SELECT AVG(s.duration) / 1000000 AS seconds FROM (
       SELECT TIMESTAMPDIFF(MICROSECOND, t.accepted_at, t.ended_at) AS duration
       FROM (SELECT id, procedure_name FROM operations WHERE tenant_id = ? ORDER BY created_at DESC, id DESC LIMIT ?) o
       JOIN operation_targets t ON t.operation_id = o.id AND t.state = 'succeeded'
       WHERE o.procedure_name = ? AND t.accepted_at IS NOT NULL LIMIT 200) s`,
    [tenantId, recentOperations, procedure],
  )) as { seconds: number | string | null }[];
  return row?.seconds === null || row?.seconds === undefined ? undefined : Number(row.seconds);
}
