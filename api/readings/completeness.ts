/** What became of every reading that a board has numbered, life by life of its spool. */
import type { EntityManager } from 'typeorm';
import type { BoardSpool } from '../../common/db/entities/readings.ts';
import type { Schemas } from '../http/operation.ts';

type Completeness = Schemas['Completeness'];

const maxEpochs = 100;
const maxGaps = 1000;

interface GapRow {
  fromSeq: number | string;
  toSeq: number | string;
  reason: string;
  createdAt: Date;
}

/**
 * Newest first.
 * @param manager of a transaction: fences and their gaps must be of one moment
 */
export async function listCompleteness(manager: EntityManager, boardUuid: string): Promise<Completeness[]> {
  const spools: BoardSpool[] = await manager.query(
    `SELECT id, epoch, acked_seq AS ackedSeq, received, lost, misdated, created_at AS createdAt, updated_at AS updatedAt
     FROM board_spools WHERE board_uuid = ? ORDER BY created_at DESC, id DESC LIMIT ?`,
    [boardUuid, maxEpochs],
  );
  const items: Completeness[] = [];
  for (const [index, spool] of spools.entries()) {
    const gaps: GapRow[] = await manager.query(
      `SELECT from_seq AS fromSeq, to_seq AS toSeq, reason, created_at AS createdAt FROM reading_gaps
       WHERE spool_id = ? ORDER BY from_seq DESC LIMIT ?`,
      [spool.id, maxGaps],
    );
    const [counted] = (await manager.query('SELECT COUNT(*) AS n FROM reading_gaps WHERE spool_id = ?', [
      spool.id,
    ])) as { n: number | string }[];
    items.push({
      ...accountFor({
        ackedSeq: Number(spool.ackedSeq),
        received: Number(spool.received),
        lost: Number(spool.lost),
        misdated: Number(spool.misdated),
      }),
      epoch: spool.epoch,
      gaps: gaps.reverse().map((gap) => ({
        from: Number(gap.fromSeq),
        to: Number(gap.toSeq),
        reason: gap.reason,
        at: gap.createdAt.toISOString(),
      })),
      gapCount: Number(counted?.n ?? 0),
      beyond: { from: Number(spool.ackedSeq) + 1, state: index === 0 ? 'may-come' : 'unknown' },
      createdAt: spool.createdAt.toISOString(),
      updatedAt: spool.updatedAt.toISOString(),
    });
  }
  return items;
}

type Counts = Pick<Completeness, 'ackedSeq' | 'received' | 'lost' | 'misdated'>;

/** Pure. `percent` never rounds up to 100 while something is lost. */
export function accountFor(counts: Counts): Counts & Pick<Completeness, 'missing' | 'percent'> {
  const { ackedSeq, received, lost } = counts;
  const missing = Math.max(0, ackedSeq - received - lost);
  const all = received + lost + missing;
  const percent = all === 0 ? null : Math.floor((received / all) * 100_000) / 1000;
  return { ...counts, missing, percent };
}
