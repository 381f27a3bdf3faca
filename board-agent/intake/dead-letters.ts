/**
 * Messages that could not become readings, or wait for a decision, on disk as they came: bounded,
 * to be listed, gone through the intake again, or dropped.
 */
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';
import type { DeadReason, RawMessage } from './types.ts';

export interface DeadLetter {
  id: number;
  /** When the message came. */
  at: number;
  source: string;
  reason: DeadReason;
  detail: string;
  /** The device, as far as it is known. */
  module?: string;
  message: RawMessage;
}

export const deadLetterLimits = { letters: 10_000, bytes: 16_000_000, detailLength: 500 } as const;

/** What a letter takes beside its payload. */
const overheadBytes = 200;

const insertSql = `INSERT INTO dead_letters (at, source, reason, detail, module, path, content_type, fields, payload, bytes)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** Inside a transaction. Answers with the bytes that it counts for. */
export function insertLetter(db: DatabaseSync, letter: Omit<DeadLetter, 'id'>): number {
  const { path, payload, contentType, fields } = letter.message;
  const text = fields && JSON.stringify(fields);
  const bytes = overheadBytes + payload.length + path.length + letter.detail.length + (text?.length ?? 0);
  prepared(db, insertSql).run(
    letter.at,
    letter.source,
    letter.reason,
    letter.detail.slice(0, deadLetterLimits.detailLength),
    letter.module ?? null,
    path,
    contentType ?? null,
    text ?? null,
    payload,
    bytes,
  );
  return bytes;
}

export function letterOf(row: Record<string, unknown>): DeadLetter {
  return {
    id: Number(row.id),
    at: Number(row.at),
    source: String(row.source),
    reason: row.reason as DeadReason,
    detail: String(row.detail),
    ...(row.module !== null && { module: String(row.module) }),
    message: {
      path: String(row.path),
      payload: row.payload as Uint8Array,
      ...(row.content_type !== null && { contentType: String(row.content_type) }),
      ...(row.fields !== null && { fields: JSON.parse(String(row.fields)) as Record<string, string> }),
    },
  };
}

export interface LetterTotals {
  letters: number;
  bytes: number;
  byReason: Partial<Record<DeadReason, number>>;
  /** Letters that wait for a decision, by module. */
  held: Map<string, number>;
}

export function loadTotals(db: DatabaseSync): LetterTotals {
  const sums = prepared(
    db,
    'SELECT reason, count(*) AS n, total(bytes) AS bytes FROM dead_letters GROUP BY reason',
  ).all();
  const rows = prepared(
    db,
    "SELECT module, count(*) AS n FROM dead_letters WHERE reason = 'quarantined' GROUP BY module",
  ).all();
  return {
    letters: sums.reduce((sum, row) => sum + Number(row.n), 0),
    bytes: sums.reduce((sum, row) => sum + Number(row.bytes), 0),
    byReason: Object.fromEntries(sums.map((row) => [String(row.reason), Number(row.n)])),
    held: new Map(rows.map((row) => [String(row.module), Number(row.n)])),
  };
}

export function findHeld(db: DatabaseSync, module: string, limit: number): DeadLetter[] {
  return prepared(
    db,
    "SELECT * FROM dead_letters WHERE module = ? AND reason = 'quarantined' ORDER BY id LIMIT ?",
  )
    .all(module, limit)
    .map(letterOf);
}
