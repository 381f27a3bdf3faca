/**
 * What became of everything that came in, hop by hop. Each hop counts for itself, so that a
 * difference means that something was lost or counted twice there:
 *
 *   gateway  messages of devices, counted by the boards' sources
 *   spool    readings that boards numbered, counted by the fences and the boards' heartbeats
 *   sinks    readings put into the outbox for sinks, less those that a sink's filter passes over; counted
 *            by the outbox (taken, lost, waiting) and by what came of the points (delivered, rejected)
 */
import type { EntityManager } from 'typeorm';
import { type FlowCounts, flowNames } from '../../wamp/modules.ts';

export interface FlowHop extends FlowCounts {
  hop: 'gateway' | 'spool' | 'sinks';
  /** received less the others: 0, or something is wrong. */
  difference: number;
  /** The oldest word of a board that this rests on; null when no board has said anything. */
  reportedAt: Date | null;
}

/** Of one tenant or board; of the whole installation without. */
export interface FlowScope {
  tenantId?: string;
  boardUuid?: string;
}

type Row = { [name in keyof FlowCounts | 'difference']: number | string | null } & {
  reportedAt: Date | null;
};

const gateway = `SELECT SUM(s.received) AS received, SUM(s.stored) AS stored, SUM(s.duplicate) AS duplicate,
    SUM(s.rejected) AS rejected, SUM(s.waiting) AS waiting, MIN(s.reported_at) AS reportedAt
  FROM boards b JOIN board_sources s ON s.board_uuid = b.uuid`;

/** Everything up to a fence was received once or is a gap; repeats and what waits on the board are beside it. */
const spool = `SELECT SUM(s.acked_seq + s.duplicate) + COALESCE(SUM(s.waiting), 0) AS received,
    SUM(s.received) AS stored, SUM(s.duplicate) AS duplicate, SUM(s.lost) AS rejected,
    SUM(s.waiting) AS waiting, MIN(s.reported_at) AS reportedAt
  FROM (SELECT b.uuid, SUM(f.acked_seq) AS acked_seq, SUM(f.received) AS received,
      SUM(f.duplicate) AS duplicate, SUM(f.lost) AS lost, MAX(l.waiting) AS waiting,
      MIN(l.reported_at) AS reported_at
    FROM boards b JOIN board_spools f ON f.board_uuid = b.uuid LEFT JOIN board_backlogs l ON l.board_uuid = b.uuid`;

/**
 * What waits is added up sink by sink: those of others may have much. What a sink sent again, because
 * nobody knew, it received once.
 */
const sinks = (
  where: string,
) => `SELECT SUM(x.taken) - SUM(x.skipped) + SUM(x.waiting) AS received, SUM(x.delivered) AS stored, 0 AS duplicate,
    SUM(x.rejected) + SUM(x.lost) AS rejected, SUM(x.waiting) AS waiting, NULL AS reportedAt
  FROM (SELECT c.taken, c.lost, s.skipped, s.delivered, s.rejected,
      (SELECT COALESCE(SUM(d.reading_count), 0) FROM outbox_deliveries d WHERE d.consumer_id = s.id) AS waiting
    FROM sinks s JOIN reading_consumers c ON c.id = s.id ${where}) x`;

/** @param manager of a transaction where the hops shall be of one moment */
export async function readFlow(manager: EntityManager, scope: FlowScope = {}): Promise<FlowHop[]> {
  const conditions = [
    ...(scope.tenantId === undefined ? [] : ['b.tenant_id = ?']),
    ...(scope.boardUuid === undefined ? [] : ['b.uuid = ?']),
  ];
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  const values = [scope.tenantId, scope.boardUuid].filter((each) => each !== undefined);
  const read = async (hop: FlowHop['hop'], sql: string) => {
    const [row] = (await manager.query(withDifference(sql), values)) as Row[];
    return toHop(hop, row);
  };
  const hops = [
    await read('gateway', `${gateway} ${where}`),
    await read('spool', `${spool} ${where} GROUP BY b.uuid) s`),
  ];
  // Sinks are the tenant's: they do not count by board.
  if (scope.boardUuid !== undefined) return hops;
  return [...hops, await read('sinks', sinks(scope.tenantId === undefined ? '' : 'WHERE s.tenant_id = ?'))];
}

/** Where the sums are exact: one board that numbers absurdly must not make all of them look wrong. */
function withDifference(sql: string): string {
  const [first, ...others] = flowNames.map((name) => `COALESCE(f.${name}, 0)`);
  return `SELECT f.*, ${first} - ${others.join(' - ')} AS difference FROM (${sql}) f`;
}

function toHop(hop: FlowHop['hop'], row: Row | undefined): FlowHop {
  const counts = {
    received: Number(row?.received ?? 0),
    stored: Number(row?.stored ?? 0),
    duplicate: Number(row?.duplicate ?? 0),
    rejected: Number(row?.rejected ?? 0),
    waiting: Number(row?.waiting ?? 0),
  };
  return { hop, ...counts, difference: Number(row?.difference ?? 0), reportedAt: row?.reportedAt ?? null };
}

export function differenceOf({ received, stored, duplicate, rejected, waiting }: FlowCounts): number {
  return received - stored - duplicate - rejected - waiting;
}
