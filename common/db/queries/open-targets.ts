/** Targets that are to be changed by hand: found in parts, so that no transaction grows with the operation. */
import type { EntityManager } from 'typeorm';
import type { TargetState } from '../../operations/states.ts';
import { AppError } from '../../runtime/app-error.ts';
import { isUuid } from '../../runtime/guards.ts';
import type { Database } from '../database.ts';
import { appendEvents } from './events.ts';
import { changeTargets, type TargetChange } from './operation-changes.ts';
import { endOperations } from './operation-ends.ts';

export interface FoundTarget {
  boardUuid: string;
  operationId: string;
  tenantId: string;
  state: TargetState;
  version: number;
  attempt: number;
}

export interface TargetSelection {
  states: readonly TargetState[];
  /** uuids; null = all. */
  boards: readonly string[] | null;
  /** A further condition on `t`. */
  where?: string;
}

export const targetsPerChange = 500;

async function findTargets(
  manager: EntityManager,
  operationId: string,
  { states, boards, where = 'TRUE' }: TargetSelection,
  after: string,
): Promise<FoundTarget[]> {
  if (boards?.length === 0) return [];
  return manager.query(
    `SELECT t.board_uuid AS boardUuid, t.operation_id AS operationId, t.tenant_id AS tenantId, t.state, t.version,
            t.attempt
     FROM operation_targets t
     WHERE t.operation_id = ? AND t.state IN (?) AND t.board_uuid > ? AND ${where}
       ${boards ? 'AND t.board_uuid IN (?)' : ''} ORDER BY t.board_uuid LIMIT ?`,
    [operationId, states, after, ...(boards ? [boards] : []), targetsPerChange],
  );
}

export interface TargetWork {
  database: Database;
  operationId: string;
  selection: TargetSelection;
  /** What becomes of a target; undefined = nothing. */
  change(target: FoundTarget): TargetChange | undefined;
  /** Further statements of the transaction, on the targets that changed. */
  also?(manager: EntityManager, changed: readonly TargetChange[]): Promise<void>;
}

/**
 * Changes the targets part by part, by compare-and-set. What changed meanwhile is read again, three
 * times through at the most. Answers the boards that changed.
 */
export async function changeSelected(work: TargetWork): Promise<string[]> {
  const changed = new Set<string>();
  for (let round = 0; round < 3; round += 1) {
    const { lost } = await changeOnce(work, changed);
    if (lost === 0) break;
  }
  return [...changed];
}

async function changeOnce(work: TargetWork, changed: Set<string>): Promise<{ lost: number }> {
  const { database, operationId, selection } = work;
  let lost = 0;
  for (let after = ''; ; ) {
    const found = await database.read((manager) => findTargets(manager, operationId, selection, after));
    const changes = found.flatMap((target) => work.change(target) ?? []);
    const applied = changes.length === 0 ? [] : await applyChanges(work, changes);
    for (const { boardUuid } of applied) changed.add(boardUuid);
    lost += changes.length - applied.length;
    const last = found.at(-1);
    if (!last || found.length < targetsPerChange) return { lost };
    after = last.boardUuid;
  }
}

function applyChanges(
  { database, also }: TargetWork,
  changes: readonly TargetChange[],
): Promise<TargetChange[]> {
  return database.transaction(async (manager) => {
    const { applied, events } = await changeTargets(manager, changes);
    await also?.(manager, applied);
    await appendEvents(manager, events);
    return applied;
  });
}

/** After changes that may have ended the operation: in a transaction of its own, which sees them all. */
export async function settleOperation(database: Database, operationId: string): Promise<boolean> {
  return database.transaction(async (manager) => {
    const events = await endOperations(manager, [operationId]);
    await appendEvents(manager, events);
    return events.length > 0;
  });
}

/** Without case and accents, as the database compares names. */
function foldName(name: string): string {
  return name.normalize('NFD').replaceAll(/\p{M}/gu, '').toLowerCase();
}

/**
 * uuids of the operation's boards that are named; null = all, because none was. Throws AppError
 * `board-not-found` naming those that are not among its targets.
 */
export async function findChosenBoards(
  manager: EntityManager,
  operationId: string,
  references: readonly string[] | undefined,
): Promise<string[] | null> {
  if (references === undefined) return null;
  const rows = (await manager.query(
    `SELECT t.board_uuid AS uuid, b.name FROM operation_targets t LEFT JOIN boards b ON b.uuid = t.board_uuid
     WHERE t.operation_id = ?`,
    [operationId],
  )) as { uuid: string; name: string | null }[];
  const byUuid = new Set(rows.map(({ uuid }) => uuid));
  const byName = new Map(rows.flatMap(({ uuid, name }) => (name === null ? [] : [[foldName(name), uuid]])));
  const found = references.map((each) => {
    const lower = each.toLowerCase();
    return isUuid(lower) ? (byUuid.has(lower) ? lower : undefined) : byName.get(foldName(each));
  });
  const missing = references.filter((_, index) => found[index] === undefined);
  if (missing.length > 0)
    throw new AppError('board-not-found', `the operation has no board ${missing.slice(0, 20).join(', ')}`);
  return [...new Set(found.filter((each) => each !== undefined))];
}
