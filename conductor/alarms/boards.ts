/** How boards stand by the rules that watch whether they are online. */
import type { EntityManager } from 'typeorm';
import { type BoardStanding, takeStanding } from '../../common/alarms/presence-watch.ts';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import type { BoardStatus } from '../../common/db/entities/boards.ts';
import { targetCondition } from '../../common/db/queries/alarm-targets.ts';
import type { Change } from './streams.ts';
import { keyOf, newWatched, readStates, type Watched } from './watched.ts';

export const boardsAtOnce = 500;

/**
 * Boards of the rule that stand otherwise than its states say: offline without a watch, or online with
 * one. At most `boardsAtOnce`, by uuid.
 * @param among only these; undefined = all of the tenant
 */
export async function findUnsettledBoards(
  manager: EntityManager,
  rule: AlarmRuleRow,
  { among, after = '' }: { among?: readonly string[]; after?: string },
): Promise<string[]> {
  if (among?.length === 0) return [];
  const { sql, values } = await targetCondition(manager, rule.tenantId, rule.target);
  const rows = (await manager.query(
    `SELECT b.uuid FROM boards b
     LEFT JOIN alarm_states s ON s.rule_id = ? AND s.stream_id = 0 AND s.board_uuid = b.uuid AND s.revision = ?
     WHERE b.tenant_id = ? AND b.uuid > ? AND ${sql}${among ? ' AND b.uuid IN (?)' : ''}
       AND IF(b.status = 'offline', s.phase IS NULL OR s.phase NOT IN ('pending', 'raised'),
              s.phase IN ('pending', 'raised'))
     ORDER BY b.uuid LIMIT ?`,
    [rule.id, rule.revision, rule.tenantId, after, ...values, ...(among ? [among] : []), boardsAtOnce],
  )) as { uuid: string }[];
  return rows.map(({ uuid }) => uuid);
}

export async function evaluateBoards(
  manager: EntityManager,
  rule: AlarmRuleRow,
  boardUuids: readonly string[],
  now: number,
): Promise<Change[]> {
  if (boardUuids.length === 0) return [];
  const states = await readStates(manager, [rule], [0], boardUuids);
  return judge(
    manager,
    boardUuids.map(
      (boardUuid) =>
        states.get(keyOf({ ruleId: rule.id, streamId: 0, boardUuid })) ??
        newWatched(rule, { boardUuid, streamId: 0, stream: null }),
    ),
    now,
  );
}

/** What the boards' rows say now. */
export async function judge(
  manager: EntityManager,
  watched: readonly Watched[],
  now: number,
): Promise<Change[]> {
  const standings = await readStandings(
    manager,
    [...new Set(watched.map(({ boardUuid }) => boardUuid))],
    now,
  );
  return watched.map((each) => {
    const standing = standings.get(each.boardUuid) ?? ({ is: 'none', since: now } as const);
    return { watched: each, step: takeStanding(each.rule, each.watch, standing, now) };
  });
}

async function readStandings(
  manager: EntityManager,
  boardUuids: readonly string[],
  now: number,
): Promise<Map<string, BoardStanding>> {
  if (boardUuids.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT b.uuid, b.status, b.last_seen_at AS seenAt,
       (SELECT s.started_at FROM board_sessions s WHERE s.board_uuid = b.uuid AND s.live = 1) AS startedAt,
       (SELECT s.ended_at FROM board_sessions s WHERE s.board_uuid = b.uuid ORDER BY s.started_at DESC LIMIT 1) AS endedAt
     FROM boards b WHERE b.uuid IN (?)`,
    [boardUuids],
  )) as {
    uuid: string;
    status: BoardStatus;
    seenAt: Date | null;
    startedAt: Date | null;
    endedAt: Date | null;
  }[];
  return new Map(
    rows.map(({ uuid, status, seenAt, startedAt, endedAt }): [string, BoardStanding] => {
      if (status === 'online') return [uuid, { is: 'online', since: startedAt?.getTime() ?? now }];
      if (status !== 'offline') return [uuid, { is: 'none', since: now }];
      return [uuid, { is: 'offline', since: (endedAt ?? seenAt)?.getTime() ?? now }];
    }),
  );
}
