import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A tenant's alarms of one severity, newest first: without, the alarms of every tenant were looked through. */
export class AlarmsBySeverity20261128090000 implements MigrationInterface {
  readonly name = 'AlarmsBySeverity20261128090000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE alarms ADD KEY ix_alarms_tenant_severity (tenant_id, severity, id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE alarms DROP KEY ix_alarms_tenant_severity');
  }
}
