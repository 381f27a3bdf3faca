/**
 * Clears what a deleted board leaves: its readings are too many to go in the transaction that
 * deletes it. `deleted_boards` is the work list; its row goes last.
 */
import type { EntityManager } from 'typeorm';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';
import { type Budget, createBudget, deleteInChunks } from './chunks.ts';
import { endTargets, findOpenOfBoard } from './expiry.ts';

const runMs = 60_000;
const boardsAtOnce = 50;
/** Batches that were on their way when the board was deleted have arrived or been refused by then. */
const settleSeconds = 60;

type Deletion = readonly [table: string, key: string, order: string];

const ofStream: readonly Deletion[] = [
  ['readings', 'stream_id', 'at'],
  ['reading_rollups', 'stream_id', 'level, at'],
  ['rollup_dirty_hours', 'stream_id', 'hour_at'],
];
const ofSpool: readonly Deletion[] = [
  ['misdated_readings', 'spool_id', 'seq'],
  ['reading_gaps', 'spool_id', 'from_seq'],
];

interface Progress {
  boards: number;
  rows: number;
  complete: boolean;
}

export async function clearDeletedBoards(context: TaskContext): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const progress: Progress = { boards: 0, rows: 0, complete: false };
  for (;;) {
    const boards = await context.database.read(findDeletedBoards);
    for (const uuid of boards) {
      if (!(await clearBoard(context, budget, uuid, progress))) return { ...progress };
      progress.boards += 1;
    }
    if (boards.length < boardsAtOnce) return { ...progress, complete: true };
  }
}

async function findDeletedBoards(manager: EntityManager): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT board_uuid AS uuid FROM deleted_boards WHERE deleted_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND
     ORDER BY deleted_at LIMIT ?`,
    [settleSeconds, boardsAtOnce],
  )) as { uuid: string }[];
  return rows.map(({ uuid }) => uuid);
}

/** False when the budget ended before the board was done. */
async function clearBoard(
  context: TaskContext,
  budget: Budget,
  uuid: string,
  progress: Progress,
): Promise<boolean> {
  const clear = async ([table, key, order]: Deletion, value: unknown) => {
    const sql = `DELETE FROM ${table} WHERE ${key} = ? ORDER BY ${order} LIMIT ?`;
    const { deleted, complete } = await deleteInChunks(context, budget, sql, [value]);
    progress.rows += deleted;
    return complete;
  };
  for (const [owners, deletions] of [
    ['streams', ofStream],
    ['board_spools', ofSpool],
  ] as const) {
    for (const id of await context.database.read((manager) => findIds(manager, owners, uuid))) {
      for (const deletion of deletions) if (!(await clear(deletion, id))) return false;
      await context.write((manager) => manager.query(`DELETE FROM ${owners} WHERE id = ?`, [id]));
    }
  }
  if (!(await endItsTargets(context, budget, uuid))) return false;
  if (!(await clear(['board_sessions', 'board_uuid', 'id'], uuid))) return false;
  await context.write(async (manager) => {
    await manager.query('DELETE FROM board_queues WHERE board_uuid = ?', [uuid]);
    await manager.query('DELETE FROM board_schedules WHERE board_uuid = ?', [uuid]);
    await manager.query('DELETE FROM deleted_boards WHERE board_uuid = ?', [uuid]);
  });
  return true;
}

/**
 * Its part in operations ends, so that they can end; the rows stay for whoever looks at the operation.
 * Most have ended before: deleting the board woke a conductor.
 */
async function endItsTargets(context: TaskContext, budget: Budget, uuid: string): Promise<boolean> {
  for (;;) {
    if (budget.spent()) return false;
    const open = await context.database.read((manager) => findOpenOfBoard(manager, uuid));
    if (open.length === 0) return true;
    const error = { code: 'board-deleted', message: 'the board was deleted' };
    const queued = open.filter(({ state }) => state === 'queued');
    await endTargets(context, queued, 'cancelled', error);
    await endTargets(
      context,
      open.filter((each) => !queued.includes(each)),
      'unknown',
      error,
    );
  }
}

async function findIds(manager: EntityManager, table: string, boardUuid: string): Promise<number[]> {
  const rows = (await manager.query(`SELECT id FROM ${table} WHERE board_uuid = ? ORDER BY id`, [
    boardUuid,
  ])) as { id: number }[];
  return rows.map(({ id }) => id);
}
