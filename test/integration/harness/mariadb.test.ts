import type { RowDataPacket } from 'mysql2';
import { describe, expect, inject, it } from 'vitest';
import { databaseName } from '../../../bin/stack/mariadb.ts';
import { createTestDatabase } from '../../harness/mariadb.ts';

describe("the tests' databases", () => {
  it('are copies of the migrated schema, foreign keys included, and apart from one another', async () => {
    const [one, two] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    const connection = await one.connect();
    const count = async (table: string, schema: string) => {
      const [rows] = await connection.query<RowDataPacket[]>(
        `SELECT COUNT(*) AS n FROM information_schema.${table} WHERE constraint_schema = ?`,
        [schema],
      );
      return Number(rows[0]?.n);
    };
    expect(one.schema).not.toBe(two.schema);
    for (const table of ['referential_constraints', 'table_constraints']) {
      expect(await count(table, one.schema)).toBe(await count(table, databaseName));
      expect(await count(table, one.schema)).toBeGreaterThan(0);
    }
    await connection.end();
    await Promise.all([one.drop(), two.drop()]);
  });

  it('can be empty', async () => {
    const database = await createTestDatabase({ empty: true });
    const connection = await database.connect();
    const [tables] = await connection.query<RowDataPacket[]>('SHOW TABLES');
    expect(tables).toEqual([]);
    await connection.end();
    await database.drop();
  });

  it('are reached by an account that has no rights elsewhere', async () => {
    const database = await createTestDatabase({ empty: true });
    const connection = await database.connect();
    await expect(connection.query('SELECT * FROM mysql.user')).rejects.toThrow(/denied/);
    await expect(connection.query('CREATE DATABASE other')).rejects.toThrow(/denied/);
    expect(inject('mariadb').password).toHaveLength(32);
    await connection.end();
    await database.drop();
  });
});
