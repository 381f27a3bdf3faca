/**
 * Streams and fences exist before the transaction that stores readings: inserting them inside of it
 * made different boards' first batches deadlock one another.
 */
import type { EntityManager } from 'typeorm';
import { AppError } from '../../runtime/app-error.ts';
import { agentLimits } from '../../wamp/agent-procedures.ts';
import type { ReadingType, StreamDeclaration } from '../../wamp/readings.ts';

export interface StreamRow {
  id: number;
  name: string;
  /** As it was first declared; it never changes. */
  type: ReadingType;
  unit: string;
}

/** Every stream of a board. */
export async function findStreams(manager: EntityManager, boardUuid: string): Promise<StreamRow[]> {
  return manager.query('SELECT id, name, type, unit FROM streams WHERE board_uuid = ?', [boardUuid]);
}

/** Adds what is missing; whoever comes second finds it there. */
export async function insertStreams(
  manager: EntityManager,
  boardUuid: string,
  streams: readonly StreamDeclaration[],
): Promise<void> {
  if (streams.length === 0) return;
  const now = new Date();
  await manager.query(
    'INSERT IGNORE INTO streams (board_uuid, name, type, unit, reading_count, created_at) VALUES ?',
    [streams.map(({ name, type, unit }) => [boardUuid, name, type, unit, 0, now])],
  );
}

/**
 * Adds a board's declared streams and takes over their units. Those beyond the limit of a board are
 * left out: the others must not suffer, and the readings of these are refused by name.
 */
export async function declareStreams(
  manager: EntityManager,
  boardUuid: string,
  declared: readonly StreamDeclaration[],
): Promise<void> {
  if (declared.length === 0) return;
  const known = new Map((await findStreams(manager, boardUuid)).map((row) => [row.name, row]));
  await insertStreams(
    manager,
    boardUuid,
    declared.filter((each) => !known.has(each.name)).slice(0, Math.max(0, agentLimits.streams - known.size)),
  );
  for (const { name, unit } of declared) {
    const row = known.get(name);
    if (row && row.unit !== unit)
      await manager.query('UPDATE streams SET unit = ? WHERE id = ?', [unit, row.id]);
  }
}

export interface SpoolRow {
  id: number;
  ackedSeq: number;
}

async function findSpool(
  manager: EntityManager,
  boardUuid: string,
  epoch: string,
): Promise<SpoolRow | undefined> {
  const [row] = (await manager.query(
    'SELECT id, acked_seq AS ackedSeq FROM board_spools WHERE board_uuid = ? AND epoch = ?',
    [boardUuid, epoch],
  )) as { id: number; ackedSeq: number | string }[];
  return row && { id: row.id, ackedSeq: Number(row.ackedSeq) };
}

/** New lives of a board's spool in an hour; a board that loses its disk at every start has some. */
const epochsPerHour = 60;

async function refuseTooMany(manager: EntityManager, boardUuid: string): Promise<void> {
  const [row] = (await manager.query(
    `SELECT COUNT(*) AS n FROM board_spools
     WHERE board_uuid = ? AND created_at > UTC_TIMESTAMP(3) - INTERVAL 1 HOUR`,
    [boardUuid],
  )) as { n: number | string }[];
  if (Number(row?.n ?? 0) < epochsPerHour) return;
  throw new AppError('too-many-requests', `a board may begin ${epochsPerHour} spools in an hour`, {
    details: { retryAfterMs: 60_000 },
  });
}

/** The fence row of a spool's epoch, made when it is missing. Throws `too-many-requests`. */
export async function declareSpool(
  manager: EntityManager,
  boardUuid: string,
  epoch: string,
): Promise<SpoolRow> {
  const known = await findSpool(manager, boardUuid, epoch);
  if (known) return known;
  await refuseTooMany(manager, boardUuid);
  await manager.query(
    `INSERT IGNORE INTO board_spools (board_uuid, epoch, acked_seq, received, lost, misdated, created_at, updated_at)
     VALUES (?, ?, 0, 0, 0, 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [boardUuid, epoch],
  );
  // Inside a transaction another's row may be invisible: nothing acknowledged is the safe answer.
  return (await findSpool(manager, boardUuid, epoch)) ?? { id: 0, ackedSeq: 0 };
}
