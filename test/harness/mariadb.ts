/** A schema of its own for a test file: a copy of the migrated one, in a fraction of a migration's time. */
import { randomBytes } from 'node:crypto';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { inject } from 'vitest';
import { databaseName, mariadbUrl } from '../../bin/stack/mariadb.ts';

export interface TestDatabase {
  /** For DATABASE_URL. */
  url: string;
  schema: string;
  /** A plain connection, for arranging and looking; the caller ends it. */
  connect(): Promise<Connection>;
  drop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Leave it without tables, for tests of the migrations. */
  empty?: boolean;
}

export async function createTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const access = inject('mariadb');
  const schema = `boardwalk_test_${randomBytes(6).toString('hex')}`;
  const url = mariadbUrl(access, schema);
  const run = async (work: (connection: Connection) => Promise<void>) => {
    const connection = await createConnection({ uri: mariadbUrl(access), multipleStatements: true });
    try {
      await work(connection);
    } finally {
      await connection.end();
    }
  };
  await run(async (connection) => {
    await connection.query(`CREATE DATABASE ${schema} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`);
    if (options.empty !== true) await copyTables(connection, schema);
  });
  return {
    url,
    schema,
    connect: () => createConnection({ uri: url, timezone: 'Z' }),
    drop: () => run(async (connection) => void (await connection.query(`DROP DATABASE ${schema}`))),
  };
}

/** `CREATE TABLE … LIKE` would lose the foreign keys, so the tables' own statements are replayed. */
async function copyTables(connection: Connection, schema: string): Promise<void> {
  const [tables] = await connection.query<RowDataPacket[]>('SHOW TABLES');
  const names = tables.map((row) => String(Object.values(row)[0]));
  const statements = await Promise.all(
    names.map(async (name) => {
      const [rows] = await connection.query<RowDataPacket[]>(`SHOW CREATE TABLE \`${name}\``);
      return `${rows[0]?.['Create Table']}; INSERT INTO \`${name}\` SELECT * FROM ${databaseName}.\`${name}\`;`;
    }),
  );
  await connection.query(
    `SET foreign_key_checks = 0; USE ${schema}; ${statements.join('\n')} SET foreign_key_checks = 1;`,
  );
}

/** As whoever administers the server, who may make users; the caller ends the connection. */
export function connectAdministrator(): Promise<Connection> {
  const { port, password } = inject('mariadb');
  return createConnection({ host: '127.0.0.1', port, user: 'administrator', password });
}
