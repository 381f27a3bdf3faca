/**
 * Whose turn it is: one row per board that was ever given an operation. What is to be done is in
 * `operation_targets`; this row only says that somebody should look, and when. Conductors take rows by
 * compare-and-set for a time (conductor/engine), so that one of them at a time works for a board.
 */
import type { EntityManager } from 'typeorm';

export interface QueuedBoard {
  boardUuid: string;
  tenantId: string;
}

const rowsPerStatement = 1000;

/**
 * Something was added or changed: these boards are looked at now, whoever holds them looks again.
 * @param lane 1 = they may wait for their turn in a mass return
 */
export async function readyBoards(
  manager: EntityManager,
  boards: readonly QueuedBoard[],
  lane: 0 | 1 = 0,
): Promise<void> {
  // In one order everywhere: two transactions never wait for each other.
  const sorted = [...new Map(boards.map((each) => [each.boardUuid, each])).values()].sort((left, right) =>
    left.boardUuid < right.boardUuid ? -1 : 1,
  );
  for (let from = 0; from < sorted.length; from += rowsPerStatement) {
    const part = sorted.slice(from, from + rowsPerStatement);
    const now = 'UTC_TIMESTAMP(3)';
    await manager.query(
      `INSERT INTO board_queues (board_uuid, tenant_id, ready, lane, next_at, has_open, mark)
       VALUES ${part.map(() => `(?, ?, 1, ?, ${now}, 1, 1)`).join(', ')}
       ON DUPLICATE KEY UPDATE mark = mark + 1, has_open = 1,
         lane = IF(ready IS NULL, VALUES(lane), LEAST(lane, VALUES(lane))),
         next_at = IF(ready IS NULL, ${now}, LEAST(COALESCE(next_at, ${now}), ${now})), ready = 1`,
      part.flatMap(({ boardUuid, tenantId }) => [boardUuid, tenantId, lane]),
    );
  }
}

/**
 * A board came online: what waited for it may go on, in the lane of those that come back. False when
 * nothing waits.
 */
export async function wakeBoard(manager: EntityManager, boardUuid: string): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE board_queues SET mark = mark + 1, lane = IF(ready IS NULL, 1, lane),
            next_at = IF(ready IS NULL, UTC_TIMESTAMP(3), LEAST(COALESCE(next_at, UTC_TIMESTAMP(3)), UTC_TIMESTAMP(3))), ready = 1
     WHERE board_uuid = ? AND has_open = 1`,
    [boardUuid],
  )) as { affectedRows: number };
  return result.affectedRows > 0;
}
