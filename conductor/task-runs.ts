/**
 * The written side of the scheduler: which slot of a task is due, who runs it, how it ended. All
 * times are the database's.
 */
import type { EntityManager } from 'typeorm';
import { getDatabaseTime } from '../common/db/queries/clock.ts';
import { holdLease, releaseLease, renewLease } from '../common/db/queries/leases.ts';
import type { JsonObject } from '../common/runtime/guards.ts';

/** Beside these, cleaning up marks runs that nobody ended as `lost`. */
export type TaskOutcome = 'done' | 'failed' | 'stopped';

export interface TaskLease {
  name: string;
  owner: string;
  fence: number;
}

/** What came of asking for the slot that is due now. `nextInMs` is the time to the next slot. */
export type Claim =
  | { state: 'claimed'; nextInMs: number; slotAt: number; lease: TaskLease }
  /** Another conductor is at it, or died at it: its lease tells which, later. */
  | { state: 'held'; nextInMs: number }
  | { state: 'done'; nextInMs: number };

export interface ClaimRequest {
  task: string;
  everyMs: number;
  leaseSeconds: number;
  conductorId: string;
  /** A failed slot may be run again after this. */
  retryAfterMs: number;
}

interface SlotState {
  /** undefined = not started; null = not ended. */
  outcome: TaskOutcome | null | undefined;
  endedAgoMs: number | null;
  heldByOther: boolean;
}

/** One transaction: the lease of the task and the row of the slot are taken together or not at all. */
export async function claimSlot(manager: EntityManager, request: ClaimRequest): Promise<Claim> {
  const { task, everyMs, conductorId } = request;
  const now = await getDatabaseTime(manager);
  const slotAt = Math.floor(now / everyMs) * everyMs;
  const nextInMs = slotAt + everyMs - now;
  const slot = await findSlot(manager, request, slotAt);
  if (!isDue(slot, request)) return { state: 'done', nextInMs };
  if (slot.heldByOther) return { state: 'held', nextInMs };

  const name = `task:${task}`;
  const fence = await holdLease(manager, name, conductorId, request.leaseSeconds);
  if (fence === undefined) return { state: 'held', nextInMs };
  const inserted = (await manager.query(
    'INSERT IGNORE INTO task_runs (task, slot_at, conductor_id, started_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))',
    [task, new Date(slotAt), conductorId],
  )) as { affectedRows: number };
  if (inserted.affectedRows === 0) {
    // It was read before the lease was taken, so it may have ended in between.
    const taken = (await manager.query(
      `UPDATE task_runs SET detail = JSON_OBJECT('takenOverFrom', conductor_id, 'after', COALESCE(outcome, 'lost')),
              conductor_id = ?, started_at = UTC_TIMESTAMP(3), ended_at = NULL, outcome = NULL
       WHERE task = ? AND slot_at = ? AND (outcome IS NULL OR outcome <> 'done')`,
      [conductorId, task, new Date(slotAt)],
    )) as { affectedRows: number };
    if (taken.affectedRows === 0) {
      await releaseLease(manager, name, conductorId);
      return { state: 'done', nextInMs };
    }
  }
  return { state: 'claimed', nextInMs, slotAt, lease: { name, owner: conductorId, fence } };
}

async function findSlot(manager: EntityManager, request: ClaimRequest, slotAt: number): Promise<SlotState> {
  const [run] = (await manager.query(
    `SELECT outcome, TIMESTAMPDIFF(MICROSECOND, ended_at, UTC_TIMESTAMP(3)) / 1000 AS endedAgoMs
     FROM task_runs WHERE task = ? AND slot_at = ?`,
    [request.task, new Date(slotAt)],
  )) as { outcome: TaskOutcome | null; endedAgoMs: string | number | null }[];
  const held = (await manager.query(
    'SELECT 1 FROM leases WHERE name = ? AND owner <> ? AND until_at > UTC_TIMESTAMP(3)',
    [`task:${request.task}`, request.conductorId],
  )) as unknown[];
  return {
    outcome: run?.outcome,
    endedAgoMs: run?.endedAgoMs == null ? null : Number(run.endedAgoMs),
    heldByOther: held.length > 0,
  };
}

function isDue(slot: SlotState, request: ClaimRequest): boolean {
  if (slot.outcome === 'done') return false;
  return slot.outcome !== 'failed' || (slot.endedAgoMs ?? 0) >= request.retryAfterMs;
}

/** Writes how a run ended and gives the lease back; false, and nothing written, when the lease was lost. */
export async function finishRun(
  manager: EntityManager,
  run: { task: string; slotAt: number; lease: TaskLease },
  outcome: TaskOutcome,
  detail: JsonObject,
): Promise<boolean> {
  if (!(await renewLease(manager, run.lease, 1))) return false;
  await manager.query(
    `UPDATE task_runs SET ended_at = UTC_TIMESTAMP(3), outcome = ?, detail = JSON_MERGE_PATCH(COALESCE(detail, '{}'), ?)
     WHERE task = ? AND slot_at = ? AND conductor_id = ?`,
    [outcome, JSON.stringify(detail), run.task, new Date(run.slotAt), run.lease.owner],
  );
  await releaseLease(manager, run.lease.name, run.lease.owner);
  return true;
}
