/**
 * Operations end with the last of their targets: at once with their only one, else by a look at all of
 * them. Each end is a row in `operation_events` and a live event.
 */
import type { EntityManager } from 'typeorm';
import type { OperationState, TargetState } from '../../operations/states.ts';
import type { NewEvent } from './events.ts';
import { insertOperationEvents, type NewOperationEvent } from './operation-events.ts';

export interface OperationEnd {
  id: string;
  tenantId: string;
  outcome: OperationState;
}

export const toEndEvent = ({ id, outcome }: OperationEnd): NewOperationEvent => ({
  operationId: id,
  boardUuid: null,
  kind: outcome,
  evidence: { of: 'operation' },
});

export function toLiveEnd({ id, tenantId, outcome }: OperationEnd): NewEvent {
  const payload = { operation: id, state: outcome, at: new Date().toISOString() };
  return { tenantId, boardUuid: null, type: 'operation', payload };
}

/** What the end of its only target makes of an operation. */
export function outcomeOf(state: TargetState): OperationState {
  return state === 'succeeded' || state === 'cancelled' ? state : 'failed';
}

/** Below, statements of their own are cheaper than the one that locks them first. */
export const severalFrom = 3;

/**
 * Ends operations with their only targets, without a look at these. `others` are those that this does not
 * end: they ended before, or have further targets after all. The caller writes the events of `ends`.
 */
export function endWithTargets(
  manager: EntityManager,
  ends: readonly OperationEnd[],
): Promise<{ ends: OperationEnd[]; others: string[] }> {
  return ends.length < severalFrom ? endOneByOne(manager, ends) : endTogether(manager, ends);
}

async function endOneByOne(
  manager: EntityManager,
  wanted: readonly OperationEnd[],
): Promise<{ ends: OperationEnd[]; others: string[] }> {
  const ends: OperationEnd[] = [];
  const others: string[] = [];
  for (const end of wanted) {
    const result = (await manager.query(
      `UPDATE operations SET state = ?, version = version + 1, updated_at = UTC_TIMESTAMP(3),
              ended_at = COALESCE(ended_at, UTC_TIMESTAMP(3))
       WHERE id = ? AND target_count = 1 AND state NOT IN ('preparing', ?)`,
      [end.outcome, end.id, end.outcome],
    )) as { affectedRows: number };
    if (result.affectedRows === 1) ends.push(end);
    else others.push(end.id);
  }
  return { ends, others };
}

/** Those that are active are found first, by a read that locks them. */
async function endTogether(
  manager: EntityManager,
  wanted: readonly OperationEnd[],
): Promise<{ ends: OperationEnd[]; others: string[] }> {
  const ids = wanted.map(({ id }) => id).sort();
  const rows = (await manager.query(
    `SELECT id FROM operations WHERE id IN (?) AND target_count = 1 AND state = 'active' ORDER BY id FOR UPDATE`,
    [ids],
  )) as { id: string }[];
  const active = new Set(rows.map(({ id }) => id));
  const ends = wanted.filter(({ id }) => active.has(id));
  await writeEnds(manager, ends);
  return { ends, others: ids.filter((id) => !active.has(id)) };
}

/** Their rows are locked. */
async function writeEnds(manager: EntityManager, ends: readonly OperationEnd[]): Promise<void> {
  for (const [outcome, alike] of Map.groupBy(ends, (each) => each.outcome))
    await manager.query(
      `UPDATE operations SET state = ?, version = version + 1, updated_at = UTC_TIMESTAMP(3),
              ended_at = COALESCE(ended_at, UTC_TIMESTAMP(3)) WHERE id IN (?)`,
      [outcome, alike.map(({ id }) => id).sort()],
    );
}

interface OperationStanding extends OperationEnd {
  state: OperationState;
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
  const ids = [...new Set(operationIds)].sort();
  const found = (await findStandings(manager, ids)).filter(hasNewEnd);
  if (found.length === 0) return [];
  // Whoever else ends them waits here, and finds them ended.
  const locked = (await manager.query(
    'SELECT id, state FROM operations WHERE id IN (?) ORDER BY id FOR UPDATE',
    [found.map(({ id }) => id)],
  )) as Pick<OperationStanding, 'id' | 'state'>[];
  const states = new Map(locked.map(({ id, state }) => [id, state]));
  const ending = found.filter(({ id, state }) => states.get(id) === state);
  await writeEnds(manager, ending);
  await insertOperationEvents(manager, ending.map(toEndEvent));
  return ending.map(toLiveEnd);
}

const hasNewEnd = ({ state, outcome }: OperationStanding) => outcome !== state && outcome !== 'active';

function findStandings(manager: EntityManager, ids: readonly string[]): Promise<OperationStanding[]> {
  const inState = (condition: string) =>
    `EXISTS (SELECT 1 FROM operation_targets t WHERE t.operation_id = o.id AND t.state ${condition})`;
  return manager.query(
    `SELECT o.id, o.tenant_id AS tenantId, o.state,
            CASE WHEN ${inState(`IN (${openStates})`)} THEN 'active'
                 WHEN ${inState("IN ('failed', 'expired', 'unknown')")} THEN 'failed'
                 WHEN ${inState("= 'cancelled'")} THEN 'cancelled' ELSE 'succeeded' END AS outcome
     FROM operations o WHERE o.id IN (?) AND o.state <> 'preparing'`,
    [ids],
  );
}
