/**
 * Whose turn it is: one row per board that was ever given an operation. What is to be done is in
 * `operation_targets`; this row only says that somebody should look, and when. Conductors take rows by
 * compare-and-set for a time (conductor/engine), so that one of them at a time works for a board.
 *
 *   waits       ready NULL: for its board to come back, for a report, or for an operation
 *   due         ready 1, next_at is over, nobody holds it
 *   held        owner and until_at; next_at is until_at, so that looking for due rows meets no held
 *               ones, and the row is due by itself when its holder died. `fence` tells holders apart
 *   added to    while held: mark rises and next_at is now; whoever releases it leaves it due
 */
import type { EntityManager } from 'typeorm';

export interface QueuedBoard {
  boardUuid: string;
  tenantId: string;
}

const rowsPerStatement = 1000;
const now = 'UTC_TIMESTAMP(3)';

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

export interface DueBoard extends QueuedBoard {
  lane: 0 | 1;
}

export interface HeldBoard extends DueBoard {
  fence: number;
  mark: number;
}

const due = `ready = 1 AND next_at <= ${now} AND (until_at IS NULL OR until_at <= ${now})`;

/** Tenants that have boards with something to do now or later, in order; jumps over the rows of each. */
export async function findReadyTenants(
  manager: EntityManager,
  after: string,
  limit: number,
): Promise<string[]> {
  const tenants: string[] = [];
  for (let last = after; tenants.length < limit; ) {
    const [row] = (await manager.query(
      'SELECT MIN(tenant_id) AS tenantId FROM board_queues WHERE ready = 1 AND tenant_id > ?',
      [last],
    )) as { tenantId: string | null }[];
    if (!row?.tenantId) break;
    tenants.push(row.tenantId);
    last = row.tenantId;
  }
  return tenants;
}

/** Boards whose turn it is, so many of each tenant and lane, the longest waiting first; nothing is taken yet. */
export async function findDueBoards(
  manager: EntityManager,
  tenantIds: readonly string[],
  limit: number,
): Promise<DueBoard[]> {
  if (tenantIds.length === 0) return [];
  const one = `(SELECT board_uuid AS boardUuid, tenant_id AS tenantId, lane FROM board_queues
                WHERE tenant_id = ? AND lane = ? AND ${due} ORDER BY next_at LIMIT ?)`;
  const parts = tenantIds.flatMap((tenantId) => [0, 1].map((lane) => [tenantId, lane, limit]));
  return manager.query(parts.map(() => one).join(' UNION ALL '), parts.flat());
}

/** Those of the boards whose turn it is. */
export async function findDueOf(manager: EntityManager, boardUuids: readonly string[]): Promise<DueBoard[]> {
  if (boardUuids.length === 0) return [];
  return manager.query(
    `SELECT board_uuid AS boardUuid, tenant_id AS tenantId, lane FROM board_queues
     WHERE board_uuid IN (?) AND ${due}`,
    [boardUuids],
  );
}

/**
 * Takes those of the boards that are still due; answers with how many. Must be the first statement of
 * its transaction; `owner` and a lease that runs tell which they are.
 * @param lanes of these lanes only
 */
export async function holdBoards(
  manager: EntityManager,
  owner: string,
  boardUuids: readonly string[],
  { leaseSeconds, lanes = [0, 1] }: { leaseSeconds: number; lanes?: readonly (0 | 1)[] },
): Promise<number> {
  if (boardUuids.length === 0) return 0;
  const result = (await manager.query(
    `UPDATE board_queues SET owner = ?, fence = fence + 1, until_at = ${now} + INTERVAL ? SECOND,
            next_at = ${now} + INTERVAL ? SECOND
     WHERE board_uuid IN (?) AND ${due} AND lane IN (?)`,
    [owner, leaseSeconds, leaseSeconds, [...boardUuids].sort(), lanes],
  )) as { affectedRows: number };
  return result.affectedRows;
}

export interface BoardRelease {
  board: HeldBoard;
  /** Epoch milliseconds; undefined = when something comes in. */
  nextAt: number | undefined;
  hasOpen: boolean;
}

/** Gives boards back that are still held with the fence they were taken with; others are left alone. */
export async function releaseBoards(
  manager: EntityManager,
  owner: string,
  releases: readonly BoardRelease[],
): Promise<void> {
  const sorted = [...releases].sort((left, right) => (left.board.boardUuid < right.board.boardUuid ? -1 : 1));
  for (let from = 0; from < sorted.length; from += rowsPerStatement) {
    const part = sorted.slice(from, from + rowsPerStatement);
    const key = 'CAST(? AS CHAR(36) CHARACTER SET ascii)';
    const rows = part.map((_, index) =>
      index === 0
        ? `SELECT ${key} AS b, ? AS fence, ? AS mark, ? AS ready, ? AS next_at, ? AS has_open`
        : `SELECT ${key}, ?, ?, ?, ?, ?`,
    );
    await manager.query(
      `UPDATE (${rows.join(' UNION ALL ')}) d STRAIGHT_JOIN board_queues q
         ON q.board_uuid = d.b COLLATE ascii_bin
       SET q.owner = NULL, q.until_at = NULL,
           q.ready = IF(q.mark <> d.mark, 1, d.ready),
           q.next_at = IF(q.mark <> d.mark, ${now}, d.next_at),
           q.has_open = IF(q.mark <> d.mark, 1, d.has_open)
       WHERE q.owner = ? AND q.fence = d.fence`,
      [
        ...part.flatMap(({ board, nextAt, hasOpen }) => [
          board.boardUuid,
          board.fence,
          board.mark,
          nextAt === undefined ? null : 1,
          nextAt === undefined ? null : new Date(nextAt),
          Number(hasOpen),
        ]),
        owner,
      ],
    );
  }
}

/** How many boards are due, by lane; looks at so many of the queue at the most. */
export async function countDueBoards(
  manager: EntityManager,
  most: number,
): Promise<{ live: number; drain: number }> {
  const [row] = (await manager.query(
    `SELECT SUM(lane = 0 AND next_at <= ${now}) AS live, SUM(lane = 1 AND next_at <= ${now}) AS drain
     FROM (SELECT lane, next_at FROM board_queues WHERE ready = 1 LIMIT ?) q`,
    [most],
  )) as { live: string | number | null; drain: string | number | null }[];
  return { live: Number(row?.live ?? 0), drain: Number(row?.drain ?? 0) };
}
