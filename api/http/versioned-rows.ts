/**
 * Rows that have a version, and a name which their tenant has once (a key `uq_<table>_name`). Tables and
 * columns are named by handlers, never by a request. Both throw AppError `name-taken` at `/name`.
 */
import type { EntityManager } from 'typeorm';
import { refuseDuplicate } from './name-taken.ts';

type NamedTable = 'alarm_rules' | 'boards' | 'fleets' | 'schedules' | 'sinks' | 'webhooks';

/** @param columns by their names in the database */
export async function insertRow(manager: EntityManager, table: NamedTable, columns: object): Promise<void> {
  const names = Object.keys(columns);
  await refuseDuplicate(`uq_${table}_name`, '/name', () =>
    manager.query(
      `INSERT INTO ${table} (${names.join(', ')}, created_at, updated_at)
       VALUES (${names.map(() => '?').join(', ')}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      Object.values(columns),
    ),
  );
}

/** Changes the columns that are given; always counts the version up. @param key `id`, or what it is by */
export async function updateRow(
  manager: EntityManager,
  table: NamedTable | 'modules',
  key: Record<string, string>,
  columns: object,
): Promise<void> {
  const changes = Object.keys(columns).map((name) => `${name} = ?, `);
  const where = Object.keys(key).map((name) => `${name} = ?`);
  await refuseDuplicate(`uq_${table}_name`, '/name', () =>
    manager.query(
      `UPDATE ${table} SET ${changes.join('')}version = version + 1, updated_at = UTC_TIMESTAMP(3)
       WHERE ${where.join(' AND ')}`,
      [...Object.values(columns), ...Object.values(key)],
    ),
  );
}
