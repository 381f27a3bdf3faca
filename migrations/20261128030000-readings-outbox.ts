import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Who gets a tenant's readings (`reading_consumers`), the batches that were stored for them
 * (`reading_outbox`), and who has not had which yet (`outbox_deliveries`). The two that the ingest
 * writes refer to nothing by key: checking a reference would lock rows of tenants and boards.
 */
const uuid = 'CHAR(36) CHARACTER SET ascii COLLATE ascii_bin';
const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
const options = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci';

const tables: readonly [name: string, definition: string][] = [
  // taken: readings that left its outbox, lost ones among them.
  [
    'reading_consumers',
    `id ${uuid} NOT NULL,
     tenant_id ${uuid} NOT NULL,
     kind ${ascii(20)} NOT NULL,
     taken BIGINT UNSIGNED NOT NULL DEFAULT 0,
     lost BIGINT UNSIGNED NOT NULL DEFAULT 0,
     lost_at DATETIME(3) NULL,
     created_at DATETIME(3) NOT NULL,
     PRIMARY KEY (id),
     KEY ix_reading_consumers_tenant (tenant_id),
     CONSTRAINT fk_reading_consumers_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE ON UPDATE NO ACTION`,
  ],
  // payload: compact JSON, as text: it was made by the ingest, and a JSON column would parse it again.
  [
    'reading_outbox',
    `id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
     tenant_id ${uuid} NOT NULL,
     board_uuid ${uuid} NOT NULL,
     spool_id INT UNSIGNED NOT NULL,
     from_seq BIGINT UNSIGNED NOT NULL,
     reading_count INT UNSIGNED NOT NULL,
     payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
     created_at DATETIME(3) NOT NULL,
     PRIMARY KEY (id)`,
  ],
  // Count and time stand here again: waiting and lag of a consumer are one range of this table.
  [
    'outbox_deliveries',
    `consumer_id ${uuid} NOT NULL,
     outbox_id BIGINT UNSIGNED NOT NULL,
     reading_count INT UNSIGNED NOT NULL,
     created_at DATETIME(3) NOT NULL,
     PRIMARY KEY (consumer_id, outbox_id),
     KEY ix_outbox_deliveries_outbox (outbox_id)`,
  ],
];

export class ReadingsOutbox20261128030000 implements MigrationInterface {
  readonly name = 'ReadingsOutbox20261128030000';

  async up(runner: QueryRunner): Promise<void> {
    for (const [name, definition] of tables)
      await runner.query(`CREATE TABLE ${name} (${definition}) ${options}`);
    // Readings that came again and were passed over at the fence.
    await runner.query(
      'ALTER TABLE board_spools ADD COLUMN duplicate BIGINT UNSIGNED NOT NULL DEFAULT 0 AFTER misdated',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE board_spools DROP COLUMN duplicate');
    for (const [name] of [...tables].reverse()) await runner.query(`DROP TABLE ${name}`);
  }
}
