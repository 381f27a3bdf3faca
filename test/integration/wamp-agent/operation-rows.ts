/** Operations as an api and a conductor would have written them. */
import { randomUUID } from 'node:crypto';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import { type Fixture, greet, helloOf, joinBoard, type SeededBoard } from './fixture.ts';
import type { RawSession } from './raw-wamp.ts';

export const journalEpoch = randomUUID();

export interface TargetSeed {
  state?: string;
  attempt?: number;
  maxAttempts?: number;
  safety?: string;
  deadlineSeconds?: number;
  cancelRequested?: boolean;
}

/** One operation on these boards, as far as the seed says. */
export async function seedOperation(
  { sql }: Fixture,
  boards: readonly SeededBoard[],
  seed: TargetSeed = {},
): Promise<string> {
  const id = timeUuid();
  const tenantId = boards[0]?.tenantId;
  const { state = 'dispatched', attempt = 1, deadlineSeconds = 600 } = seed;
  await sql.query(
    `INSERT INTO operations (id, tenant_id, procedure_name, kwargs, target, delivery, state, deadline_at, max_attempts,
       target_count, created_by, created_at, updated_at)
     VALUES (?, ?, 'echo', '{}', '{}', 'now', 'active', UTC_TIMESTAMP(3) + INTERVAL ? SECOND, ?, ?, 'test',
       UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [id, tenantId, deadlineSeconds, seed.maxAttempts ?? 1, boards.length],
  );
  for (const board of boards)
    await sql.query(
      `INSERT INTO operation_targets (board_uuid, operation_id, tenant_id, queue, state, attempt, deliveries, safety,
         cancel_requested, deadline_at, created_at, updated_at)
       VALUES (?, ?, ?, 1, ?, ?, 1, ?, ?, UTC_TIMESTAMP(3) + INTERVAL ? SECOND, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [
        board.uuid,
        id,
        tenantId,
        state,
        attempt,
        seed.safety ?? 'journaled',
        seed.cancelRequested ? 1 : 0,
        deadlineSeconds,
      ],
    );
  return id;
}

export async function targetOf({ rows }: Fixture, operationId: string, boardUuid: string) {
  const [row] = await rows('SELECT * FROM operation_targets WHERE operation_id = ? AND board_uuid = ?', [
    operationId,
    boardUuid,
  ]);
  return row;
}

export async function operationOf({ rows }: Fixture, operationId: string) {
  const [row] = await rows('SELECT * FROM operations WHERE id = ?', [operationId]);
  return row;
}

/** Kinds of the events of an operation, in their order; of the operation itself with a star. */
export async function kindsOf({ rows }: Fixture, operationId: string): Promise<string[]> {
  const events = await rows(
    'SELECT kind, board_uuid FROM operation_events WHERE operation_id = ? ORDER BY id',
    [operationId],
  );
  return events.map((row) => (row.board_uuid === null ? `*${row.kind}` : String(row.kind)));
}

/** A board that is online. */
export async function goOnline(fixture: Fixture, board: SeededBoard): Promise<RawSession> {
  const session = await joinBoard(fixture, board);
  await greet(session, helloOf({ journalEpoch }));
  return session;
}
