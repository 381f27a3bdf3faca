import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Devices behind a gateway are modules: who is let in (`state`, and the policy of the tenant), what
 * the board counted of each, and the balance of each source (`board_sources`).
 */
const uuid = 'CHAR(36) CHARACTER SET ascii COLLATE ascii_bin';
const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
const text = (length: number) => `VARCHAR(${length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`;
const options = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci';

const counts = ['received', 'duplicate', 'missed', 'late', 'restarted', 'bad_mac', 'refused'] as const;

/** In the order of the table. `counted_since`: since when the board's present file counts. */
const columns: readonly [name: string, definition: string][] = [
  ['tenant_id', `${uuid} NOT NULL`],
  ['origin', `${ascii(20)} NOT NULL DEFAULT 'declared'`],
  ['state', `${ascii(20)} NOT NULL DEFAULT 'accepted'`],
  ['board_state', `${ascii(20)} NULL`],
  ['kind', `${ascii(60)} NULL`],
  ['source', `${ascii(60)} NULL`],
  ...counts.map((name) => [name, 'BIGINT UNSIGNED NOT NULL DEFAULT 0'] as [string, string]),
  ['last_seq', 'BIGINT UNSIGNED NULL'],
  ['counted_since', 'DATETIME(3) NULL'],
  ['count_resets', 'INT UNSIGNED NOT NULL DEFAULT 0'],
  ['first_seen_at', 'DATETIME(3) NULL'],
  ['last_seen_at', 'DATETIME(3) NULL'],
  ['reported_at', 'DATETIME(3) NULL'],
  ['decided_by', `${ascii(60)} NULL`],
  ['decided_at', 'DATETIME(3) NULL'],
  ['version', 'INT UNSIGNED NOT NULL DEFAULT 1'],
  ['created_at', 'DATETIME(3) NOT NULL'],
];

const sources = `board_uuid ${uuid} NOT NULL,
  name ${ascii(60)} NOT NULL,
  kind ${ascii(60)} NOT NULL,
  received BIGINT UNSIGNED NOT NULL,
  stored BIGINT UNSIGNED NOT NULL,
  duplicate BIGINT UNSIGNED NOT NULL,
  rejected BIGINT UNSIGNED NOT NULL,
  waiting BIGINT UNSIGNED NOT NULL,
  fault ${text(500)} NULL,
  count_resets INT UNSIGNED NOT NULL DEFAULT 0,
  reported_at DATETIME(3) NOT NULL,
  PRIMARY KEY (board_uuid, name),
  CONSTRAINT fk_board_sources_board FOREIGN KEY (board_uuid) REFERENCES boards (uuid) ON DELETE CASCADE ON UPDATE NO ACTION`;

export class Modules20261128010000 implements MigrationInterface {
  readonly name = 'Modules20261128010000';

  async up(runner: QueryRunner): Promise<void> {
    const added = columns.map(([name, definition]) =>
      // Filled below, before it must be.
      name === 'tenant_id' || name === 'created_at'
        ? `ADD COLUMN ${name} ${definition.replace('NOT NULL', 'NULL')}`
        : `ADD COLUMN ${name} ${definition}`,
    );
    await runner.query(`ALTER TABLE modules ${added.join(', ')}`);
    await runner.query(
      'UPDATE modules m JOIN boards b ON b.uuid = m.board_uuid SET m.tenant_id = b.tenant_id, m.created_at = m.updated_at',
    );
    // A module without its board cannot be: its foreign key says so. What checks were off for goes.
    await runner.query('DELETE FROM modules WHERE tenant_id IS NULL');
    await runner.query(
      `ALTER TABLE modules MODIFY tenant_id ${uuid} NOT NULL, MODIFY created_at DATETIME(3) NOT NULL,
         ADD KEY ix_modules_tenant (tenant_id, board_uuid, name),
         ADD KEY ix_modules_state (tenant_id, state, board_uuid, name)`,
    );
    await runner.query(`CREATE TABLE board_sources (${sources}) ${options}`);
    await runner.query(
      `ALTER TABLE tenants ADD COLUMN unknown_devices ${ascii(20)} NOT NULL DEFAULT 'quarantine' AFTER quotas,
         ADD COLUMN devices_per_minute INT UNSIGNED NOT NULL DEFAULT 60 AFTER unknown_devices`,
    );
    await runner.query(`ALTER TABLE boards ADD COLUMN modules_version ${uuid} NULL AFTER contracts_hash`);
  }

  /** Who was let in is forgotten; what boards declare stays. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE boards DROP COLUMN modules_version');
    await runner.query('ALTER TABLE tenants DROP COLUMN devices_per_minute, DROP COLUMN unknown_devices');
    await runner.query('DROP TABLE board_sources');
    await runner.query("DELETE FROM modules WHERE origin <> 'declared'");
    await runner.query(
      `ALTER TABLE modules DROP KEY ix_modules_state, DROP KEY ix_modules_tenant,
         ${columns.map(([name]) => `DROP COLUMN ${name}`).join(', ')}`,
    );
  }
}
