/** What a report of modules and sources changes in the database. */
import type { EntityManager } from 'typeorm';
import {
  type ModuleReport,
  type ModuleState,
  moduleLimits,
  type SourceReport,
} from '../../common/wamp/modules.ts';

/** Whole milliseconds, as a DATETIME(3) keeps them: it is compared with what is stored. */
const toTime = (at: number) => new Date(Math.floor(at));

/** All that came of a device: only rises while one file counts. */
const heard = (alias: string) =>
  ['received', 'duplicate', 'late', 'restarted', 'bad_mac', 'refused']
    .map((name) => `${alias}.${name}`)
    .join(' + ');

const reportColumns = `CONVERT(? USING ascii) COLLATE ascii_bin AS name, ? AS source, ? AS state,
  CAST(? AS DATETIME(3)) AS since, CAST(? AS DATETIME(3)) AS seen_at, ? AS last_seq,
  ? AS received, ? AS duplicate, ? AS missed, ? AS late, ? AS restarted, ? AS bad_mac, ? AS refused`;

/**
 * Takes over what the board counted of modules that are known; answers with how many those are. A
 * report is taken whole or, when a later one came first, not at all: then less was heard since the same
 * `firstSeenAt`. The counts begin anew, which is counted, when the board counts in another file: the
 * device was first seen later, or less was heard of it. (First seen earlier and more heard is one that
 * had been held in quarantine.)
 *
 * One statement for all of them: a board reports every few seconds.
 */
export async function updateCounts(
  manager: EntityManager,
  boardUuid: string,
  modules: readonly ModuleReport[],
): Promise<number> {
  if (modules.length === 0) return 0;
  // `count_resets` first and `counted_since` last: what looks at others sees them as they were.
  const result = (await manager.query(
    `UPDATE modules m JOIN (${modules.map(() => `SELECT ${reportColumns}`).join(' UNION ALL ')}) r
       ON m.board_uuid = ? AND m.name = r.name
     SET m.count_resets = m.count_resets +
           IF(m.counted_since IS NULL OR (r.since <= m.counted_since AND ${heard('r')} >= ${heard('m')}), 0, 1),
         m.received = r.received, m.duplicate = r.duplicate, m.missed = r.missed, m.late = r.late,
         m.restarted = r.restarted, m.bad_mac = r.bad_mac, m.refused = r.refused, m.last_seq = r.last_seq,
         m.source = r.source, m.board_state = r.state, m.last_seen_at = r.seen_at,
         m.first_seen_at = COALESCE(m.first_seen_at, r.since), m.reported_at = UTC_TIMESTAMP(3),
         m.counted_since = r.since
     WHERE m.counted_since IS NULL OR m.counted_since <> r.since
        OR ${heard('r')} >= ${heard('m')}`,
    [
      ...modules.flatMap((each) => [
        each.name,
        each.source,
        each.state,
        toTime(each.firstSeenAt),
        toTime(each.lastSeenAt),
        each.lastSeq,
        ...countsOf(each),
      ]),
      boardUuid,
    ],
  )) as { affectedRows: number };
  return result.affectedRows;
}

const countsOf = (each: ModuleReport) => [
  each.received,
  each.duplicate,
  each.missed,
  each.late,
  each.restarted,
  each.badMac,
  each.refused,
];

export async function findKnownNames(
  manager: EntityManager,
  boardUuid: string,
  names: readonly string[],
): Promise<Set<string>> {
  const rows = (await manager.query('SELECT name FROM modules WHERE board_uuid = ? AND name IN (?)', [
    boardUuid,
    names,
  ])) as { name: string }[];
  return new Set(rows.map((row) => row.name));
}

/** Devices that the policy let in within the last minute. */
export async function countFreshlyAccepted(manager: EntityManager, boardUuid: string): Promise<number> {
  const [row] = (await manager.query(
    `SELECT COUNT(*) AS n FROM modules WHERE board_uuid = ? AND origin <> 'declared' AND state = 'accepted'
       AND decided_by IS NULL AND created_at > UTC_TIMESTAMP(3) - INTERVAL 60 SECOND`,
    [boardUuid],
  )) as { n: number | string }[];
  return Number(row?.n ?? 0);
}

export type FoundModule = ModuleReport & { decided: ModuleState };

export async function insertDiscovered(
  manager: EntityManager,
  board: { uuid: string; tenantId: string },
  found: readonly FoundModule[],
): Promise<void> {
  const [clock] = (await manager.query('SELECT UTC_TIMESTAMP(3) AS now')) as [{ now: Date }];
  const { now } = clock;
  await manager.query(
    `INSERT INTO modules (board_uuid, name, tenant_id, origin, state, board_state, source, received, duplicate,
       missed, late, restarted, bad_mac, refused, last_seq, counted_since, first_seen_at, last_seen_at,
       reported_at, created_at, updated_at) VALUES ?`,
    [
      found.map((each) => [
        board.uuid,
        each.name,
        board.tenantId,
        'discovered',
        each.decided,
        each.state,
        each.source,
        ...countsOf(each),
        each.lastSeq,
        toTime(each.firstSeenAt),
        toTime(each.firstSeenAt),
        toTime(each.lastSeenAt),
        now,
        now,
        now,
      ]),
    ],
  );
}

export async function findDecisions(
  manager: EntityManager,
  boardUuid: string,
): Promise<{ name: string; state: ModuleState }[]> {
  return manager.query('SELECT name, state FROM modules WHERE board_uuid = ? ORDER BY name', [boardUuid]);
}

/**
 * A source's balance is taken over as a whole, so that it stays one. Fewer received than before: the
 * board's file was replaced, which is counted.
 */
export async function upsertSources(
  manager: EntityManager,
  boardUuid: string,
  sources: readonly SourceReport[],
): Promise<void> {
  if (sources.length === 0) return;
  // Assignments go from left to right: `received` last of those that others look at.
  await manager.query(
    `INSERT INTO board_sources (board_uuid, name, kind, received, stored, duplicate, rejected, waiting, fault, reported_at)
     VALUES ${sources.map(() => '(?, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))').join(', ')}
     ON DUPLICATE KEY UPDATE count_resets = count_resets + IF(VALUES(received) < received, 1, 0),
       kind = VALUES(kind), received = VALUES(received), stored = VALUES(stored), duplicate = VALUES(duplicate),
       rejected = VALUES(rejected), waiting = VALUES(waiting), fault = VALUES(fault), reported_at = VALUES(reported_at)`,
    sources.flatMap((each) => [
      boardUuid,
      each.name,
      each.kind,
      each.received,
      each.stored,
      each.duplicate,
      each.rejected,
      each.waiting,
      each.fault ?? null,
    ]),
  );
}

/** Sources that were renamed leave rows behind; beyond the limit the longest unheard go. */
export async function trimSources(manager: EntityManager, boardUuid: string): Promise<void> {
  const rows = (await manager.query(
    'SELECT name FROM board_sources WHERE board_uuid = ? ORDER BY reported_at DESC, name',
    [boardUuid],
  )) as { name: string }[];
  const surplus = rows.slice(moduleLimits.sources).map((row) => row.name);
  if (surplus.length > 0)
    await manager.query('DELETE FROM board_sources WHERE board_uuid = ? AND name IN (?)', [
      boardUuid,
      surplus,
    ]);
}
