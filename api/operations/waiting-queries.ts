/** What is known of why an operation is not done: read for `explainWaiting`. */
import type { EntityManager } from 'typeorm';
import type { BoardStatus } from '../../common/db/entities/boards.ts';
import type { Delivery } from '../../common/db/entities/operations.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { currentRate, type RolloutOptions } from '../../common/operations/rollout.ts';
import type { OperationState, RolloutState, TargetState } from '../../common/operations/states.ts';
import type { DailyWindow } from '../../common/operations/window.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { WaitingFacts, WaitingRollout, WaitingTarget } from './waiting.ts';

/** Beyond, only how many there are is told. */
const loadedTargets = 10_000;
const openStates: readonly TargetState[] = ['queued', 'dispatched', 'accepted', 'running', 'unknown'];

interface OperationFactsRow {
  state: OperationState;
  delivery: Delivery;
  window: string | JsonObject | null;
  targetCount: number;
  written: number | string;
  open: number | string;
  now: Date;
}

/** @param board uuid: only what concerns it */
export async function findWaitingFacts(
  manager: EntityManager,
  operationId: string,
  board: string | undefined,
): Promise<WaitingFacts> {
  const onBoard = board === undefined ? '' : 'AND t.board_uuid = ?';
  const ofBoard = board === undefined ? [] : [board];
  const [operation] = (await manager.query(
    `SELECT o.state, o.delivery, o.daily_window AS \`window\`, o.target_count AS targetCount, UTC_TIMESTAMP(3) AS now,
            (SELECT COUNT(*) FROM operation_targets t WHERE t.operation_id = o.id) AS written,
            (SELECT COUNT(*) FROM operation_targets t WHERE t.operation_id = o.id AND t.state IN (?) ${onBoard}) AS open
     FROM operations o WHERE o.id = ?`,
    [openStates, ...ofBoard, operationId],
  )) as [OperationFactsRow];
  const targets = await findTargets(manager, operationId, board);
  const { written, open, now, window, ...rest } = operation;
  return {
    ...rest,
    now: now.getTime(),
    window: fromJsonColumn<DailyWindow | null>(window),
    written: Number(written),
    rollout: operation.delivery === 'rollout' ? await findRollout(manager, operationId) : null,
    targets,
    more: Math.max(0, Number(open) - targets.length),
  };
}

interface TargetFactsRow {
  board: string;
  name: string | null;
  status: BoardStatus | null;
  lastSeenAt: Date | null;
  state: TargetState;
  queue: number | null;
  attempt: number;
  notBefore: Date | null;
  cancelRequested: number;
  dispatchedAt: Date | null;
  acceptedAt: Date | null;
  /** The words of what boards said: all of it, of ten thousand boards, would be hundreds of megabytes. */
  percent: string | number | null;
  message: string | null;
  errorMessage: string | null;
  parallel: number;
}

async function findTargets(
  manager: EntityManager,
  operationId: string,
  board: string | undefined,
): Promise<WaitingTarget[]> {
  const rows = (await manager.query(
    `SELECT t.board_uuid AS board, b.name, b.status, b.last_seen_at AS lastSeenAt, t.state, t.queue, t.attempt,
            t.not_before AS notBefore, t.cancel_requested AS cancelRequested, t.dispatched_at AS dispatchedAt,
            t.accepted_at AS acceptedAt,
            JSON_EXTRACT(t.progress, '$.percent') AS percent,
            JSON_UNQUOTE(JSON_EXTRACT(t.progress, '$.message')) AS message,
            JSON_UNQUOTE(JSON_EXTRACT(t.error, '$.message')) AS errorMessage, o.parallel
     FROM operation_targets t JOIN operations o ON o.id = t.operation_id LEFT JOIN boards b ON b.uuid = t.board_uuid
     WHERE t.operation_id = ? AND t.state IN (?) ${board === undefined ? '' : 'AND t.board_uuid = ?'}
     ORDER BY t.board_uuid LIMIT ?`,
    [operationId, openStates, ...(board === undefined ? [] : [board]), loadedTargets],
  )) as TargetFactsRow[];
  const inLine = rows.filter(
    (row) => row.state === 'queued' && row.queue === 1 && row.status === 'online' && row.parallel === 0,
  );
  const ahead = await findAhead(
    manager,
    operationId,
    inLine.map((row) => row.board),
  );
  return rows.map(
    ({ queue, parallel: _parallel, cancelRequested, percent, message, errorMessage, ...row }) => ({
      ...row,
      isHeld: queue === 0,
      cancelRequested: cancelRequested === 1,
      progress: {
        ...(percent !== null && { percent: Number(percent) }),
        ...(message !== null && { message }),
      },
      error: errorMessage === null ? null : { message: errorMessage },
      behind: ahead.get(row.board) ?? null,
    }),
  );
}

/** Which operation each board is busy with, or has to do before. */
async function findAhead(
  manager: EntityManager,
  operationId: string,
  boards: readonly string[],
): Promise<Map<string, string>> {
  if (boards.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT t.board_uuid AS board, MIN(t.operation_id) AS operation
     FROM operation_targets t JOIN operations o ON o.id = t.operation_id
     WHERE t.board_uuid IN (?) AND t.queue = 1 AND t.operation_id <> ? AND o.parallel = 0
       AND (t.state IN ('dispatched', 'accepted', 'running') OR (t.state = 'queued' AND t.operation_id < ?))
     GROUP BY t.board_uuid`,
    [boards, operationId, operationId],
  )) as { board: string; operation: string }[];
  return new Map(rows.map(({ board, operation }) => [board, operation]));
}

interface RolloutFactsRow {
  state: RolloutState;
  reason: string | null;
  wave: number;
  waves: number;
  options: string | JsonObject;
  held: number | string;
  open: number | string;
  succeeded: number | string;
}

async function findRollout(manager: EntityManager, operationId: string): Promise<WaitingRollout | null> {
  const inWave = 't.operation_id = r.operation_id AND t.wave = r.wave';
  const [row] = (await manager.query(
    `SELECT r.state, r.reason, r.wave, r.waves, r.options,
            (SELECT COUNT(*) FROM operation_targets t WHERE ${inWave} AND t.queue = 0) AS held,
            (SELECT COUNT(*) FROM operation_targets t WHERE ${inWave} AND t.queue = 1) AS open,
            (SELECT COUNT(*) FROM operation_targets t WHERE t.operation_id = r.operation_id AND t.state = 'succeeded')
              AS succeeded
     FROM rollouts r WHERE r.operation_id = ?`,
    [operationId],
  )) as RolloutFactsRow[];
  if (!row) return null;
  const { rate } = fromJsonColumn<RolloutOptions>(row.options);
  return {
    state: row.state,
    reason: row.reason,
    wave: row.wave,
    waves: row.waves,
    held: Number(row.held),
    open: Number(row.open),
    perMinute: rate ? currentRate(rate, Number(row.succeeded)) : null,
  };
}
