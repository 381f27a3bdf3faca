import type { Connection, RowDataPacket } from 'mysql2/promise';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../common/db/database.ts';
import { appliedMigrations, migrate } from '../../common/db/migrate.ts';
import { createLogger } from '../../common/runtime/logger.ts';
import { migrations } from '../../migrations/index.ts';
import { createTestDatabase, type TestDatabase } from '../harness/mariadb.ts';

let db: TestDatabase;
let database: Database;
let connection: Connection;

beforeEach(async () => {
  db = await createTestDatabase({ empty: true });
  database = createDatabase({ url: db.url, logger: createLogger('test', 'silent') });
  connection = await db.connect();
});
afterEach(async () => {
  await connection.end();
  await database.close();
  await db.drop();
});

/** Statements that would make the tables fit the entities, and columns of another collation. */
async function drift(): Promise<string[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT table_name AS tbl, column_name AS name, collation_name AS collation FROM information_schema.columns WHERE table_schema = ?',
    [db.schema],
  );
  const collations = new Map(
    rows.map(({ tbl, name, collation }) => [`${tbl}.${name}`, collation as unknown]),
  );
  return database.read(async (manager) => {
    const log = await manager.connection.driver.createSchemaBuilder().log();
    // TypeORM does not compare these.
    const others = manager.connection.entityMetadatas.flatMap(({ tableName, columns }) =>
      columns
        .map(({ databaseName, collation }) => [`${tableName}.${databaseName}`, collation] as const)
        .filter(([column, collation]) => collation !== undefined && collations.get(column) !== collation),
    );
    return [
      ...log.upQueries.map(({ query }) => query),
      ...others.map(([column, collation]) => `${column} must have collation ${collation}`),
    ];
  });
}

async function listTables(): Promise<string[]> {
  const [rows] = await connection.query<RowDataPacket[]>('SHOW TABLES');
  return rows.map((row) => String(Object.values(row)[0])).sort();
}

const made = {
  created_at: new Date('2026-01-01T00:00:00.000Z'),
  updated_at: new Date('2026-01-02T00:00:00.000Z'),
};

const bookkeeping = ['migration_lease', 'schema_migrations'];

/** A row in every table, made from the types of its columns. */
async function fillTables(): Promise<void> {
  await connection.query('SET foreign_key_checks = 0');
  for (const table of await listTables()) {
    if (bookkeeping.includes(table)) continue;
    const [columns] = await connection.query<RowDataPacket[]>(
      'SELECT column_name AS name, data_type AS type FROM information_schema.columns WHERE table_schema = ? AND table_name = ?',
      [db.schema, table],
    );
    const row = Object.fromEntries(columns.map(({ name, type }) => [name, sampleOf(String(type))]));
    await connection.query(`INSERT INTO ${table} SET ?`, [row]);
  }
  await connection.query('SET foreign_key_checks = 1');
}

function sampleOf(type: string): unknown {
  if (/char|text|blob/.test(type)) return type === 'longtext' ? '{}' : 'x';
  return type === 'datetime' ? new Date() : 1;
}

async function countRows(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const table of await listTables()) {
    const [rows] = await connection.query<RowDataPacket[]>(`SELECT COUNT(*) AS n FROM ${table}`);
    counts[table] = Number(rows[0]?.n);
  }
  return counts;
}

describe('the schema', () => {
  it('is what the entities say', async () => {
    await migrate(database, 'up');
    expect(await drift()).toEqual([]);
  });

  it('can be gone back on and made again, also with rows in every table', async () => {
    const names = await migrate(database, 'up');
    expect(names).toHaveLength(migrations.length);
    const tables = await listTables();
    await fillTables();
    expect(Math.min(...Object.values(await countRows()))).toBe(1);
    for (let step = migrations.length; step > 0; step -= 1)
      expect(await migrate(database, 'down')).toHaveLength(1);
    expect(await listTables()).toEqual(bookkeeping);
    expect(await migrate(database, 'up')).toEqual(names);
    expect(await listTables()).toEqual(tables);
    expect(await drift()).toEqual([]);
  });

  it('gives modules that were there before a tenant, and lets them go on', async () => {
    await migrate(database, 'up');
    for (let undone: string[] = []; !undone.includes('Modules20261128010000'); )
      undone = await migrate(database, 'down');
    await connection.query('INSERT INTO tenants SET ?', [{ id: 't', name: 't', slug: 't', ...made }]);
    await connection.query('INSERT INTO boards SET ?', [{ uuid: 'b', tenant_id: 't', name: 'b', ...made }]);
    await connection.query('INSERT INTO modules SET ?', [
      { board_uuid: 'b', name: 'm', updated_at: made.updated_at },
    ]);
    await migrate(database, 'up');
    const [rows] = await connection.query('SELECT * FROM modules');
    expect(rows).toMatchObject([
      { name: 'm', tenant_id: 't', origin: 'declared', state: 'accepted', created_at: made.updated_at },
    ]);
    const [tenants] = await connection.query('SELECT * FROM tenants');
    expect(tenants).toMatchObject([{ unknown_devices: 'quarantine', devices_per_minute: 60 }]);
  });

  it('is migrated once when several processes start together', async () => {
    const results = await Promise.all([1, 2, 3].map(() => migrate(database, 'up')));
    expect(results.flat()).toHaveLength(migrations.length);
    expect(await database.read(appliedMigrations)).toHaveLength(migrations.length);
  });

  it('is never changed by being up to date', async () => {
    await migrate(database, 'up');
    await fillTables();
    const before = await countRows();
    expect(await migrate(database, 'up')).toEqual([]);
    expect(await countRows()).toEqual(before);
  });
});

describe('the check for drift', () => {
  const changes = {
    'a missing column': 'ALTER TABLE boards DROP COLUMN altitude',
    'a column too many': 'ALTER TABLE boards ADD COLUMN colour INT NULL',
    'another type':
      'ALTER TABLE task_runs MODIFY outcome VARCHAR(21) CHARACTER SET ascii COLLATE ascii_bin NULL',
    'another collation':
      'ALTER TABLE tenants MODIFY name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL',
    'a column that may be null': 'ALTER TABLE streams MODIFY created_at DATETIME(3) NULL',
    'a missing index': 'ALTER TABLE events DROP INDEX ix_events_created',
    'a missing unique key': 'ALTER TABLE board_sessions DROP INDEX uq_board_sessions_live',
    'a missing foreign key': 'ALTER TABLE memberships DROP FOREIGN KEY fk_memberships_user',
    'a missing table': 'DROP TABLE audit_events',
  };
  it.each(Object.entries(changes))('sees %s', async (_what, change) => {
    await migrate(database, 'up');
    await connection.query(change);
    expect(await drift()).not.toEqual([]);
  });
});
