import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * In whose name schedules and alarm rules start operations: whoever made or last changed them. NULL =
 * nobody, and nothing is started. Of what is there, changes are not on record in the row: its maker.
 */
const author = 'VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL';
const tables = ['schedules', 'alarm_rules'] as const;

export class Authors20261128080000 implements MigrationInterface {
  readonly name = 'Authors20261128080000';

  async up(runner: QueryRunner): Promise<void> {
    for (const table of tables) {
      await runner.query(`ALTER TABLE ${table} ADD COLUMN author ${author}`);
      await runner.query(`UPDATE ${table} SET author = created_by`);
    }
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of tables) await runner.query(`ALTER TABLE ${table} DROP COLUMN author`);
  }
}
