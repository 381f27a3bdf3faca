/** Ids of streams in the spool's file, remembered as long as what was written of them holds. */
import type { DatabaseSync } from 'node:sqlite';
import type { StreamDeclaration } from '../../common/wamp/readings.ts';
import { prepared } from '../state/sqlite-file.ts';

export interface StreamIds {
  /** Inside a transaction. */
  idOf(db: DatabaseSync, stream: StreamDeclaration): number;
  /** A transaction was rolled back. */
  forget(): void;
}

const maxRemembered = 10_000;

export function createStreamIds(): StreamIds {
  let of: DatabaseSync | undefined;
  /** By name; the last type and unit of each. */
  let known = new Map<string, { type: string; unit: string; id: number }>();

  function lookUp(db: DatabaseSync, { name, type, unit }: StreamDeclaration): number {
    prepared(db, 'INSERT OR IGNORE INTO streams (name, type, unit) VALUES (?, ?, ?)').run(name, type, unit);
    const find = prepared(db, 'SELECT id FROM streams WHERE name = ? AND type = ? AND unit = ?');
    return Number(find.get(name, type, unit)?.id);
  }

  return {
    idOf(db, stream) {
      if (db !== of || known.size >= maxRemembered) {
        known = new Map();
        of = db;
      }
      const entry = known.get(stream.name);
      if (entry && entry.type === stream.type && entry.unit === stream.unit) return entry.id;
      const id = lookUp(db, stream);
      known.set(stream.name, { type: stream.type, unit: stream.unit, id });
      return id;
    },
    forget() {
      known.clear();
    },
  };
}
