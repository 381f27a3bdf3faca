/**
 * Runs migrations, one process at a time. The lock is a row taken by compare-and-set, because
 * GET_LOCK is local to a node on a cluster; its holder renews it, so a dead one's ends by itself.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import type { Database } from './database.ts';

const leaseSeconds = 30;
const renewMs = 10_000;

export type MigrationStep = 'up' | 'down';

/**
 * Brings the schema up to date, or undoes the newest migration. Answers with the names that ran.
 * Waits for another process that migrates; throws after `waitMs`.
 */
export async function migrate(database: Database, step: MigrationStep, waitMs = 120_000): Promise<string[]> {
  const owner = randomUUID();
  await takeLease(database, owner, waitMs);
  const renewal = setInterval(
    () => void database.read((manager) => claim(manager, owner)).catch(() => undefined),
    renewMs,
  );
  try {
    return await database.read(async (manager) => {
      const source = manager.connection;
      if (step === 'up') return (await source.runMigrations()).map((each) => each.name);
      const before = await appliedMigrations(manager);
      await source.undoLastMigration();
      const after = await appliedMigrations(manager);
      return before.filter((name) => !after.includes(name));
    });
  } finally {
    clearInterval(renewal);
    await database.read((manager) =>
      manager.query('UPDATE migration_lease SET owner = NULL, until_at = NULL WHERE id = 1 AND owner = ?', [
        owner,
      ]),
    );
  }
}

/** Names of the migrations that ran, oldest first. */
export async function appliedMigrations(manager: EntityManager): Promise<string[]> {
  const tables = (await manager.query("SHOW TABLES LIKE 'schema_migrations'")) as unknown[];
  if (tables.length === 0) return [];
  const rows = (await manager.query('SELECT name FROM schema_migrations ORDER BY timestamp')) as {
    name: string;
  }[];
  return rows.map((row) => row.name);
}

async function takeLease(database: Database, owner: string, waitMs: number): Promise<void> {
  await database.read(async (manager) => {
    await manager.query(
      'CREATE TABLE IF NOT EXISTS migration_lease (id INT NOT NULL, owner CHAR(36) NULL, until_at DATETIME(3) NULL, PRIMARY KEY (id)) ENGINE=InnoDB',
    );
    await manager.query('INSERT IGNORE INTO migration_lease (id) VALUES (1)');
  });
  const deadline = performance.now() + waitMs;
  while (!(await database.read((manager) => claim(manager, owner)))) {
    if (performance.now() > deadline)
      throw new Error('another process is migrating the database and does not end');
    await sleep(200);
  }
}

async function claim(manager: EntityManager, owner: string): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE migration_lease SET owner = ?, until_at = UTC_TIMESTAMP(3) + INTERVAL ${leaseSeconds} SECOND
     WHERE id = 1 AND (owner IS NULL OR owner = ? OR until_at < UTC_TIMESTAMP(3))`,
    [owner, owner],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}
