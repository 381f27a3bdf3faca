/** Reads what the engine decides on: the boards that were taken, and their open targets. */
import type { EntityManager } from 'typeorm';
import type { BoardStatus } from '../../common/db/entities/boards.ts';
import type { Delivery } from '../../common/db/entities/operations.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { HeldBoard } from '../../common/db/queries/board-queues.ts';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import type { TargetState } from '../../common/operations/states.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { SafetyClass } from '../../common/wamp/contract.ts';
import type { BoardView, OpenTarget, OperationView } from './views.ts';

export interface LoadedBoard {
  held: HeldBoard;
  view: BoardView;
  /** Oldest first. */
  targets: OpenTarget[];
  /** Open targets beyond these: looked at when these have gone on. */
  hasMore: boolean;
  /** When the next of those that wait for a time may go on; known when there are more than were loaded. */
  nextNotBefore: number | undefined;
}

export interface Loaded {
  /** Database's clock, epoch milliseconds. */
  now: number;
  boards: Map<string, LoadedBoard>;
}

/** Open targets of a board that are looked at in one go. */
export const targetsAtOnce = 20;

interface TargetRow {
  boardUuid: string;
  operationId: string;
  tenantId: string;
  state: TargetState;
  version: number;
  attempt: number;
  deliveries: number;
  safety: string | null;
  notBefore: Date | null;
  deadlineAt: Date;
  cancelRequested: number;
  sessionId: string | null;
  journalEpoch: string | null;
  progress: unknown;
  error: unknown;
  dispatchedAt: Date | null;
  acceptedAt: Date | null;
}

const targetColumns = `board_uuid AS boardUuid, operation_id AS operationId, tenant_id AS tenantId, state, version,
  attempt, deliveries, safety, not_before AS notBefore, deadline_at AS deadlineAt, cancel_requested AS cancelRequested,
  session_id AS sessionId, journal_epoch AS journalEpoch, progress, error, dispatched_at AS dispatchedAt,
  accepted_at AS acceptedAt`;

/** The boards that `owner` holds of these, with what there is to do for them. */
export async function loadBoards(
  manager: EntityManager,
  owner: string,
  boardUuids: readonly string[],
  safeties: SafetyCache,
): Promise<Loaded> {
  const found = await findHeld(manager, owner, boardUuids);
  const boards = new Map<string, LoadedBoard>();
  if (found.length === 0) return { now: await getDatabaseTime(manager), boards };
  const now = Number(found[0]?.now);
  const views = new Map(found.map((row) => [row.boardUuid, toView(row)]));
  const targets = Map.groupBy(await findOldest(manager, [...views.keys()]), ({ boardUuid }) => boardUuid);
  const extra = await lookBeyond(manager, targets, now);
  const operations = await findOperations(
    manager,
    [...targets.values()].flatMap((rows) => rows.map(({ operationId }) => operationId)),
  );
  const pairs = [...targets.values()].flat().flatMap(({ boardUuid, operationId }) => {
    const [view, operation] = [views.get(boardUuid), operations.get(operationId)];
    return view && operation ? [{ view, procedure: operation.procedure }] : [];
  });
  await safeties.load(manager, pairs);
  for (const row of found) {
    const view = views.get(row.boardUuid) ?? toView(row);
    const rows = targets.get(row.boardUuid) ?? [];
    boards.set(row.boardUuid, {
      held: toHeld(row),
      view,
      targets: rows.flatMap((each) => {
        const operation = operations.get(each.operationId);
        return operation ? [toTarget(each, operation, safeties.get(view, operation.procedure))] : [];
      }),
      hasMore: rows.length >= targetsAtOnce || extra.has(row.boardUuid),
      nextNotBefore: extra.get(row.boardUuid)?.nextNotBefore,
    });
  }
  return { now, boards };
}

/**
 * The oldest of each board. Most boards have few, so all are read by one range per board; only when
 * these are too many each board is asked for by itself, which is bounded and takes four times as long.
 */
async function findOldest(manager: EntityManager, boardUuids: readonly string[]): Promise<TargetRow[]> {
  const most = boardUuids.length * targetsAtOnce;
  const rows: TargetRow[] = await manager.query(
    `SELECT ${targetColumns} FROM operation_targets FORCE INDEX (ix_operation_targets_queue)
     WHERE board_uuid IN (?) AND queue = 1 ORDER BY board_uuid, queue, operation_id LIMIT ?`,
    [boardUuids, most],
  );
  if (rows.length < most)
    return [...Map.groupBy(rows, ({ boardUuid }) => boardUuid).values()].flatMap((each) =>
      each.slice(0, targetsAtOnce),
    );
  const one = `(SELECT ${targetColumns} FROM operation_targets WHERE board_uuid = ? AND queue = 1
                ORDER BY operation_id LIMIT ${targetsAtOnce})`;
  return manager.query(boardUuids.map(() => one).join(' UNION ALL '), [...boardUuids]);
}

/**
 * A board with so many open targets that not all were read, some of which wait for a time: those that
 * need not wait must not starve behind them. Replaces its targets by those that may go on.
 */
async function lookBeyond(
  manager: EntityManager,
  targets: Map<string, TargetRow[]>,
  now: number,
): Promise<Map<string, { nextNotBefore: number | undefined }>> {
  const extra = new Map<string, { nextNotBefore: number | undefined }>();
  const waits = ({ state, notBefore }: TargetRow) =>
    state === 'queued' && notBefore !== null && notBefore.getTime() > now;
  for (const [uuid, rows] of targets) {
    if (rows.length < targetsAtOnce || !rows.some(waits)) continue;
    const at = new Date(now);
    const due: TargetRow[] = await manager.query(
      `SELECT ${targetColumns} FROM operation_targets WHERE board_uuid = ? AND queue = 1
         AND (state <> 'queued' OR not_before IS NULL OR not_before <= ?)
       ORDER BY operation_id LIMIT ${targetsAtOnce}`,
      [uuid, at],
    );
    const [next] = (await manager.query(
      `SELECT MIN(not_before) AS notBefore FROM operation_targets
       WHERE board_uuid = ? AND queue = 1 AND state = 'queued' AND not_before > ?`,
      [uuid, at],
    )) as { notBefore: Date | null }[];
    targets.set(uuid, due);
    extra.set(uuid, { nextNotBefore: next?.notBefore?.getTime() });
  }
  return extra;
}

interface HeldRow {
  boardUuid: string;
  tenantId: string;
  lane: 0 | 1;
  fence: number | string;
  mark: number | string;
  /** null = the board was deleted. */
  status: BoardStatus | null;
  lastSeenAt: Date | null;
  contractsHash: string | null;
  journalEpoch: string | null;
  sessionId: string | null;
  cell: string | null;
  now: number | string;
}

async function findHeld(
  manager: EntityManager,
  owner: string,
  boardUuids: readonly string[],
): Promise<HeldRow[]> {
  return manager.query(
    `SELECT q.board_uuid AS boardUuid, q.tenant_id AS tenantId, q.lane, q.fence, q.mark,
            b.status, b.last_seen_at AS lastSeenAt, b.contracts_hash AS contractsHash,
            b.journal_epoch AS journalEpoch, s.id AS sessionId, s.cell,
            ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000) AS now
     FROM board_queues q LEFT JOIN boards b ON b.uuid = q.board_uuid
     LEFT JOIN board_sessions s ON s.board_uuid = q.board_uuid AND s.live = 1
     WHERE q.board_uuid IN (?) AND q.owner = ? AND q.until_at > UTC_TIMESTAMP(3)`,
    [boardUuids, owner],
  );
}

function toHeld({ boardUuid, tenantId, lane, fence, mark }: HeldRow): HeldBoard {
  return { boardUuid, tenantId, lane, fence: Number(fence), mark: Number(mark) };
}

function toView(row: HeldRow): BoardView {
  const { sessionId, cell } = row;
  return {
    uuid: row.boardUuid,
    status: row.status ?? undefined,
    lastSeenAt: row.lastSeenAt,
    session: sessionId !== null && cell !== null ? { id: sessionId, cell } : undefined,
    contractsHash: row.contractsHash,
    journalEpoch: row.journalEpoch,
  };
}

async function findOperations(
  manager: EntityManager,
  ids: readonly string[],
): Promise<Map<string, OperationView>> {
  if (ids.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT id, procedure_name AS procedureName, kwargs, delivery, daily_window AS dailyWindow,
            max_attempts AS maxAttempts, parallel, target_count AS targetCount
     FROM operations WHERE id IN (?)`,
    [[...new Set(ids)]],
  )) as (Omit<OperationView, 'procedure' | 'parallel'> & { procedureName: string; parallel: number })[];
  return new Map(
    rows.map(({ procedureName, parallel, ...row }) => [
      row.id,
      {
        ...row,
        procedure: procedureName,
        parallel: parallel === 1,
        delivery: row.delivery as Delivery,
        kwargs: fromJsonColumn<JsonObject | null>(row.kwargs) ?? {},
        dailyWindow: fromJsonColumn(row.dailyWindow),
      },
    ]),
  );
}

function toTarget(
  row: TargetRow,
  operation: OperationView,
  contractSafety: SafetyClass | undefined,
): OpenTarget {
  return {
    ...row,
    cancelRequested: row.cancelRequested === 1,
    progress: fromJsonColumn(row.progress),
    error: fromJsonColumn(row.error),
    maxAttempts: operation.maxAttempts,
    operation,
    contractSafety,
  };
}

/**
 * Safety classes by what boards published: boards of a kind share a hash, so they are rarely read. That
 * a procedure is not there is not remembered: an operation fails for it.
 */
export interface SafetyCache {
  load(manager: EntityManager, pairs: readonly { view: BoardView; procedure: string }[]): Promise<void>;
  get(view: BoardView, procedure: string): SafetyClass | undefined;
}

const maxSafeties = 10_000;

export function createSafetyCache(): SafetyCache {
  const known = new Map<string, SafetyClass>();
  const keyOf = (view: BoardView, procedure: string) => `${view.contractsHash} ${procedure}`;
  return {
    async load(manager, pairs) {
      // Before it is looked at: what is asked for now must be there afterwards.
      if (known.size > maxSafeties) known.clear();
      const missing = new Map<string, { view: BoardView; procedure: string }>();
      for (const pair of pairs) {
        const key = keyOf(pair.view, pair.procedure);
        if (pair.view.contractsHash !== null && !known.has(key)) missing.set(key, pair);
      }
      if (missing.size === 0) return;
      const rows = (await manager.query(
        `SELECT board_uuid AS boardUuid, name, JSON_VALUE(contract, '$.safety') AS safety FROM procedure_contracts
         WHERE ${[...missing].map(() => '(board_uuid = ? AND name = ?)').join(' OR ')}`,
        [...missing.values()].flatMap(({ view, procedure }) => [view.uuid, procedure]),
      )) as { boardUuid: string; name: string; safety: SafetyClass }[];
      const safeties = new Map(rows.map(({ boardUuid, name, safety }) => [`${boardUuid} ${name}`, safety]));
      for (const [key, { view, procedure }] of missing) {
        const safety = safeties.get(`${view.uuid} ${procedure}`);
        if (safety !== undefined) known.set(key, safety);
      }
    },
    get: (view, procedure) => (view.contractsHash === null ? undefined : known.get(keyOf(view, procedure))),
  };
}
