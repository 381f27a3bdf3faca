/**
 * The one place where the state of an operation's target changes: by compare-and-set on its version,
 * with a row in `operation_events` that holds the evidence and a live event, all in one transaction.
 * Whoever lost the race reads again and decides anew; nothing here waits for a lock of another.
 */
import type { EntityManager } from 'typeorm';
import { isEnded, mayBecome, type OperationState, type TargetState } from '../../operations/states.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import type { NewEvent } from './events.ts';

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
  /** To be given to appendEvents as the last statement of the transaction. */
  events: NewEvent[];
}

/**
 * Applies what still holds. The caller appends the events, and calls `endOperations` for the
 * operations whose targets ended (in the same transaction when there is one target only, else after
 * the commit: two that end at once do not see each other before).
 */
export async function changeTargets(
  manager: EntityManager,
  changes: readonly TargetChange[],
): Promise<AppliedChanges> {
  const applied: TargetChange[] = [];
  for (const change of [...changes].sort(byKey))
    if (await changeTarget(manager, change)) applied.push(change);
  await insertOperationEvents(
    manager,
    applied.flatMap(({ operationId, boardUuid, event }) =>
      event ? [{ operationId, boardUuid, ...event }] : [],
    ),
  );
  return { applied, events: applied.flatMap(toLiveEvent) };
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

async function changeTarget(manager: EntityManager, change: TargetChange): Promise<boolean> {
  const { set, from } = change;
  if (set.state !== undefined && !mayBecome(from, set.state))
    throw new Error(`a target that is ${from} cannot become ${set.state}`);
  const names = (Object.keys(set) as (keyof TargetValues)[]).filter((name) => set[name] !== undefined);
  const assignments = names.map((name) => `${columns[name]} = ?`);
  if (set.state !== undefined) assignments.push(...consequences(from, set));
  const result = (await manager.query(
    `UPDATE operation_targets SET ${assignments.map((each) => `${each}, `).join('')}
            version = version + 1, updated_at = UTC_TIMESTAMP(3)
     WHERE board_uuid = ? AND operation_id = ? AND version = ?`,
    [...names.map((name) => toColumn(name, set[name])), change.boardUuid, change.operationId, change.version],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

/** An ended target leaves the queue; one that is opened again comes back. */
function consequences(from: TargetState, { state, queue }: TargetValues): string[] {
  if (state === undefined) return [];
  if (isEnded(state)) return ['queue = NULL', 'ended_at = UTC_TIMESTAMP(3)'];
  if (!isEnded(from)) return [];
  return ['ended_at = NULL', ...(queue === undefined ? ['queue = 1'] : [])];
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

export interface NewOperationEvent {
  operationId: string;
  boardUuid: string | null;
  kind: string;
  attempt?: number;
  evidence: JsonObject;
}

const rowsPerStatement = 1000;

export async function insertOperationEvents(
  manager: EntityManager,
  events: readonly NewOperationEvent[],
): Promise<void> {
  for (let from = 0; from < events.length; from += rowsPerStatement) {
    const part = events.slice(from, from + rowsPerStatement);
    await manager.query(
      `INSERT INTO operation_events (operation_id, board_uuid, kind, attempt, evidence, at)
       VALUES ${part.map(() => '(?, ?, ?, ?, ?, UTC_TIMESTAMP(3))').join(', ')}`,
      part.flatMap(({ operationId, boardUuid, kind, attempt, evidence }) => [
        operationId,
        boardUuid,
        kind,
        attempt ?? null,
        JSON.stringify(evidence),
      ]),
    );
  }
}

interface OperationStanding {
  id: string;
  tenantId: string;
  state: OperationState;
  version: number;
  outcome: OperationState;
}

const openStates = "'queued', 'dispatched', 'accepted', 'running'";

/**
 * Ends those of the operations whose targets have all ended; puts the end right when an `unknown`
 * target was resolved since. May be called as often as one likes. Answers with the live events.
 */
export async function endOperations(
  manager: EntityManager,
  operationIds: readonly string[],
): Promise<NewEvent[]> {
  if (operationIds.length === 0) return [];
  const inState = (condition: string) =>
    `EXISTS (SELECT 1 FROM operation_targets t WHERE t.operation_id = o.id AND t.state ${condition})`;
  const rows = (await manager.query(
    `SELECT o.id, o.tenant_id AS tenantId, o.state, o.version,
            CASE WHEN ${inState(`IN (${openStates})`)} THEN 'active'
                 WHEN ${inState("IN ('failed', 'expired', 'unknown')")} THEN 'failed'
                 WHEN ${inState("= 'cancelled'")} THEN 'cancelled' ELSE 'succeeded' END AS outcome
     FROM operations o WHERE o.id IN (?) AND o.state <> 'preparing'`,
    [[...new Set(operationIds)]],
  )) as OperationStanding[];
  const ended: NewEvent[] = [];
  for (const row of rows.filter(({ state, outcome }) => outcome !== state && outcome !== 'active')) {
    const result = (await manager.query(
      `UPDATE operations SET state = ?, version = version + 1, updated_at = UTC_TIMESTAMP(3),
              ended_at = COALESCE(ended_at, UTC_TIMESTAMP(3)) WHERE id = ? AND version = ?`,
      [row.outcome, row.id, row.version],
    )) as { affectedRows: number };
    if (result.affectedRows === 0) continue;
    await insertOperationEvents(manager, [
      { operationId: row.id, boardUuid: null, kind: row.outcome, evidence: { of: 'operation' } },
    ]);
    const payload = { operation: row.id, state: row.outcome, at: new Date().toISOString() };
    ended.push({ tenantId: row.tenantId, boardUuid: null, type: 'operation', payload });
  }
  return ended;
}
