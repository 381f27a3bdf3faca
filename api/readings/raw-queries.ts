import type { EntityManager } from 'typeorm';
import type { ReadingType, ReadingValue } from '../../common/wamp/readings.ts';
import type { Window } from './window.ts';

/** Where a page ended: the key of its last reading within the stream. */
export type RawPosition = [at: number, spoolId: number, seq: number];

export type RawPoint = [at: number, value: ReadingValue];

export interface RawPage {
  points: RawPoint[];
  /** Where to go on; undefined = nothing is left. */
  next: RawPosition | undefined;
}

interface RawRow {
  at: number;
  spoolId: number;
  seq: number;
  number: number | null;
  text: string | null;
}

/** At most `limit` readings in the order of their time, after a position. */
export async function readRawPage(
  manager: EntityManager,
  stream: { id: number; type: ReadingType },
  window: Window,
  limit: number,
  after: RawPosition | undefined,
): Promise<RawPage> {
  // The plain bound beside the condition on the whole key lets the server begin at the right place.
  const [at, spoolId, seq] = after ?? [window.fromAt, -1, -1];
  const rows = (await manager.query(
    `SELECT at, spool_id AS spoolId, seq, value_number AS number, value_text AS text FROM readings
     WHERE stream_id = ? AND at >= ? AND at < ? AND (at > ? OR spool_id > ? OR (spool_id = ? AND seq > ?))
     ORDER BY at, spool_id, seq LIMIT ?`,
    [stream.id, at, window.toAt, at, spoolId, spoolId, seq, limit + 1],
  )) as RawRow[];
  const more = rows.length > limit;
  if (more) rows.pop();
  const last = rows.at(-1);
  return {
    points: rows.map((row) => [row.at, toValue(stream.type, row)]),
    next: more && last ? [last.at, last.spoolId, Number(last.seq)] : undefined,
  };
}

/** The value as the board sent it. */
export function toValue(
  type: ReadingType,
  row: { number: number | null; text: string | null },
): ReadingValue {
  if (type === 'text') return row.text ?? '';
  return type === 'boolean' ? row.number === 1 : (row.number ?? 0);
}
