/** Messages of each source: received = stored + duplicate + rejected + waiting, at every moment. */
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';

export interface SourceCounts {
  name: string;
  kind: string;
  received: number;
  stored: number;
  duplicate: number;
  rejected: number;
  waiting: number;
}

export type FlowOutcome = 'stored' | 'duplicate' | 'rejected' | 'waiting';

export function createCounts(name: string, kind: string): SourceCounts {
  return { name, kind, received: 0, stored: 0, duplicate: 0, rejected: 0, waiting: 0 };
}

export function loadCounts(db: DatabaseSync): Map<string, SourceCounts> {
  const rows = prepared(db, 'SELECT * FROM source_counts').all() as unknown as SourceCounts[];
  return new Map(rows.map((row) => [row.name, { ...row }]));
}

/** Inside a transaction. */
export function writeCounts(db: DatabaseSync, counts: SourceCounts): void {
  const { name, kind, received, stored, duplicate, rejected, waiting } = counts;
  prepared(
    db,
    `INSERT OR REPLACE INTO source_counts (name, kind, received, stored, duplicate, rejected, waiting)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  ).run(name, kind, received, stored, duplicate, rejected, waiting);
}
