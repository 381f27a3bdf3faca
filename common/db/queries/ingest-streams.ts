/**
 * Streams and fences exist before the transaction that stores readings: inserting them inside of it
 * made different boards' first batches deadlock one another.
 */
import type { EntityManager } from 'typeorm';
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

/** Adds a board's declared streams and takes over their units. */
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
    declared.filter((each) => !known.has(each.name)),
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

/** The fence row of a spool's epoch, made when it is missing. */
export async function declareSpool(
  manager: EntityManager,
  boardUuid: string,
  epoch: string,
): Promise<SpoolRow> {
  const known = await findSpool(manager, boardUuid, epoch);
  if (known) return known;
  await manager.query(
    `INSERT IGNORE INTO board_spools (board_uuid, epoch, acked_seq, received, lost, misdated, created_at, updated_at)
     VALUES (?, ?, 0, 0, 0, 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [boardUuid, epoch],
  );
  // Inside a transaction another's row may be invisible: nothing acknowledged is the safe answer.
  return (await findSpool(manager, boardUuid, epoch)) ?? { id: 0, ackedSeq: 0 };
}
