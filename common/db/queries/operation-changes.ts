/**
 * The one place where the state of an operation's target changes: by compare-and-set on its version,
 * with a row in `operation_events` that holds the evidence and a live event, all in one transaction.
 * Whoever lost the race reads again and decides anew; nothing here waits for a lock of another.
 */
import type { EntityManager } from 'typeorm';
import { isEnded, mayBecome, type TargetState } from '../../operations/states.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import type { NewEvent } from './events.ts';
import {
  endOperations,
  endWithTargets,
  type OperationEnd,
  outcomeOf,
  severalFrom,
  toEndEvent,
  toLiveEnd,
} from './operation-ends.ts';
import { inParts, insertOperationEvents } from './operation-events.ts';

export interface TargetKey {
  boardUuid: string;
  operationId: string;
}

/** New values; what is left out stays. JSON columns take values, not text. */
export interface TargetValues {
  state?: TargetState;
  queue?: 0 | 1;
  wave?: number;
  attempt?: number;
  deliveries?: number;
  safety?: string | null;
  notBefore?: Date | null;
  cancelRequested?: boolean;
  sessionId?: string | null;
  journalEpoch?: string | null;
  progress?: JsonObject | null;
  result?: unknown;
  error?: JsonObject | null;
  dispatchedAt?: Date | null;
  acceptedAt?: Date | null;
}

export interface TargetChange extends TargetKey {
  tenantId: string;
  /** The version and state that the decision was made on. */
  version: number;
  from: TargetState;
  set: TargetValues;
  /** What happened and how one knows: session, attempt, agent, the board's answer. */
  event?: { kind: string; attempt?: number; evidence: JsonObject };
  /** The only target of its operation: its end is the operation's. */
  isOnly?: boolean;
}

const columns: Record<keyof TargetValues, string> = {
  state: 'state',
  queue: 'queue',
  wave: 'wave',
  attempt: 'attempt',
  deliveries: 'deliveries',
  safety: 'safety',
  notBefore: 'not_before',
  cancelRequested: 'cancel_requested',
  sessionId: 'session_id',
  journalEpoch: 'journal_epoch',
  progress: 'progress',
  result: 'result',
  error: 'error',
  dispatchedAt: 'dispatched_at',
  acceptedAt: 'accepted_at',
};
const jsonColumns: ReadonlySet<keyof TargetValues> = new Set<keyof TargetValues>([
  'progress',
  'result',
  'error',
]);

export interface AppliedChanges {
  /** Those that held; the others met a newer version. */
  applied: TargetChange[];
  /** Operations that have ended with their only target. */
  ended: string[];
  /** To be given to appendEvents as the last statement of the transaction. */
  events: NewEvent[];
}

/**
 * Applies what still holds, and ends operations with their only target. The caller appends the events,
 * and calls `endOperations` after the commit for operations of several targets, one of which ended: two
 * that end at once do not see each other before. Many changes take as many statements as they have
 * different sets of columns, not one each.
 */
export async function changeTargets(
  manager: EntityManager,
  changes: readonly TargetChange[],
): Promise<AppliedChanges> {
  for (const { from, set } of changes)
    if (set.state !== undefined && !mayBecome(from, set.state))
      throw new Error(`a target that is ${from} cannot become ${set.state}`);
  const sorted = [...changes].sort(byKey);
  const applied =
    sorted.length < severalFrom ? await changeOneByOne(manager, sorted) : await changeAll(manager, sorted);
  const { ends, others } = await endWithTargets(manager, applied.flatMap(toEnd));
  await insertOperationEvents(manager, [
    ...applied.flatMap(({ operationId, boardUuid, event }) =>
      event ? [{ operationId, boardUuid, ...event }] : [],
    ),
    ...ends.map(toEndEvent),
  ]);
  const more = await endOperations(manager, others);
  return {
    applied,
    ended: [...ends.map(({ id }) => id), ...more.map(({ payload }) => String(payload.operation))],
    events: [...applied.flatMap(toLiveEvent), ...ends.map(toLiveEnd), ...more],
  };
}

/** Of an operation whose only target has ended. */
function toEnd({ isOnly, operationId: id, tenantId, set: { state } }: TargetChange): OperationEnd[] {
  return isOnly && state !== undefined && isEnded(state) ? [{ id, tenantId, outcome: outcomeOf(state) }] : [];
}

function byKey(left: TargetKey, right: TargetKey): number {
  return left.boardUuid === right.boardUuid
    ? left.operationId < right.operationId
      ? -1
      : 1
    : left.boardUuid < right.boardUuid
      ? -1
      : 1;
}

async function changeOneByOne(
  manager: EntityManager,
  changes: readonly TargetChange[],
): Promise<TargetChange[]> {
  const applied: TargetChange[] = [];
  for (const change of changes) {
    const row = toColumns(change);
    const result = (await manager.query(
      `UPDATE operation_targets SET ${row.map(({ column }) => `${column} = ?, `).join('')}
              version = version + 1, updated_at = UTC_TIMESTAMP(3)${endedAt(change)}
       WHERE board_uuid = ? AND operation_id = ? AND version = ?`,
      [...row.map(({ value }) => value), change.boardUuid, change.operationId, change.version],
    )) as { affectedRows: number };
    if (result.affectedRows === 1) applied.push(change);
  }
  return applied;
}

const changesPerStatement = 200;

const lengthOf = (value: unknown) => (value === undefined ? 0 : (JSON.stringify(value) ?? '').length);

async function changeAll(manager: EntityManager, changes: readonly TargetChange[]): Promise<TargetChange[]> {
  const held = await lockUnchanged(manager, changes);
  const shapes = Map.groupBy(held, (change) =>
    toColumns(change).reduce((text, { column }) => `${text} ${column}`, endedAt(change)),
  );
  for (const alike of shapes.values())
    for (const part of inParts(alike, changesPerStatement, ({ set }) => lengthOf(set.result)))
      await changeAlike(manager, part);
  return held;
}

/** The changes whose targets are as they were seen; their rows stay locked, and no other rows. */
async function lockUnchanged(
  manager: EntityManager,
  changes: readonly TargetChange[],
): Promise<TargetChange[]> {
  const held: TargetChange[] = [];
  for (let from = 0; from < changes.length; from += changesPerStatement) {
    const part = changes.slice(from, from + changesPerStatement);
    const rows = (await manager.query(
      // Left to itself, the server goes by the boards alone and locks all of their targets, six times as slow.
      `SELECT board_uuid AS boardUuid, operation_id AS operationId, version
       FROM operation_targets FORCE INDEX (PRIMARY)
       WHERE (board_uuid, operation_id) IN (${part.map(() => '(?, ?)').join(', ')}) FOR UPDATE`,
      part.flatMap(({ boardUuid, operationId }) => [boardUuid, operationId]),
    )) as (TargetKey & { version: number })[];
    const versions = new Map(rows.map((row) => [`${row.boardUuid} ${row.operationId}`, row.version]));
    held.push(
      ...part.filter((each) => versions.get(`${each.boardUuid} ${each.operationId}`) === each.version),
    );
  }
  return held;
}

/** One statement for targets that change in the same columns. The rows are locked: they are as they were seen. */
async function changeAlike(manager: EntityManager, changes: readonly TargetChange[]): Promise<void> {
  const [first] = changes;
  if (!first) return;
  const names = toColumns(first).map(({ column }) => column);
  // The keys are ascii in the table: as such they find their rows by the primary key.
  const key = 'CAST(? AS CHAR(36) CHARACTER SET ascii)';
  const row = (index: number) =>
    `SELECT ${key}${index === 0 ? ' AS b' : ''}, ${key}${index === 0 ? ' AS o' : ''}${names
      .map((_, column) => (index === 0 ? `, ? AS c${column}` : ', ?'))
      .join('')}`;
  await manager.query(
    `UPDATE (${changes.map((_, index) => row(index)).join(' UNION ALL ')}) d STRAIGHT_JOIN operation_targets t
       ON t.board_uuid = d.b COLLATE ascii_bin AND t.operation_id = d.o COLLATE ascii_bin
     SET ${names.map((column, index) => `t.${column} = d.c${index}, `).join('')}
         t.version = t.version + 1, t.updated_at = UTC_TIMESTAMP(3)${endedAt(first)}`,
    changes.flatMap((each) => [
      each.boardUuid,
      each.operationId,
      ...toColumns(each).map(({ value }) => value),
    ]),
  );
}

/** The columns that a change writes. An ended target leaves the queue; one that is opened again comes back. */
function toColumns({ from, set }: TargetChange): { column: string; value: unknown }[] {
  const names = (Object.keys(columns) as (keyof TargetValues)[]).filter((name) => set[name] !== undefined);
  const row = names.map((name) => ({ column: columns[name], value: toColumn(name, set[name]) }));
  if (set.state === undefined) return row;
  const others = row.filter(({ column }) => column !== 'queue');
  if (isEnded(set.state)) return [...others, { column: 'queue', value: null }];
  return isEnded(from) && set.queue === undefined ? [...row, { column: 'queue', value: 1 }] : row;
}

function endedAt({ from, set }: TargetChange): string {
  if (set.state === undefined) return '';
  if (isEnded(set.state)) return ', ended_at = UTC_TIMESTAMP(3)';
  return isEnded(from) ? ', ended_at = NULL' : '';
}

function toColumn(name: keyof TargetValues, value: unknown): unknown {
  if (typeof value === 'boolean') return Number(value);
  return jsonColumns.has(name) && value !== null ? JSON.stringify(value) : value;
}

function toLiveEvent({ tenantId, boardUuid, operationId, from, set, event }: TargetChange): NewEvent[] {
  const { state = from, attempt, progress, error } = set;
  if (set.state === undefined && progress === undefined) return [];
  const payload = {
    operation: operationId,
    state,
    ...((attempt ?? event?.attempt) !== undefined && { attempt: attempt ?? event?.attempt }),
    ...(progress && { progress }),
    ...(error && { error: { code: error.code, message: error.message } }),
    at: new Date().toISOString(),
  };
  return [{ tenantId, boardUuid, type: 'operation', payload }];
}
