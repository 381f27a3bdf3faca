import type { EntityManager } from 'typeorm';
import { type ReadingType, streamNamePattern } from '../../common/wamp/readings.ts';

export interface StreamRow {
  id: number;
  name: string;
  type: ReadingType;
  unit: string;
  /** Measured times, epoch milliseconds. */
  firstAt: number | null;
  lastAt: number | null;
  lastNumber: number | null;
  lastText: string | null;
  count: number | string;
}

const columns = `id, name, type, unit, first_at AS firstAt, last_at AS lastAt, last_number AS lastNumber,
  last_text AS lastText, reading_count AS count`;

/** By name; at most `limit`, after a name. */
export async function listStreams(
  manager: EntityManager,
  boardUuid: string,
  limit: number,
  after: string | undefined,
): Promise<StreamRow[]> {
  return manager.query(
    `SELECT ${columns} FROM streams WHERE board_uuid = ? AND name > ? ORDER BY name LIMIT ?`,
    [boardUuid, after ?? '', limit],
  );
}

/** In no order; names that the board does not have are left out. */
export async function findStreams(
  manager: EntityManager,
  boardUuid: string,
  names: readonly string[],
): Promise<StreamRow[]> {
  // The column is ascii and cannot be compared with other text.
  const possible = names.filter((name) => streamNamePattern.test(name));
  if (possible.length === 0) return [];
  return manager.query(`SELECT ${columns} FROM streams WHERE board_uuid = ? AND name IN (?)`, [
    boardUuid,
    possible,
  ]);
}
