import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Where readings of a tenant flow on to, and the points that such a target refused. */
const uuid = 'CHAR(36) CHARACTER SET ascii COLLATE ascii_bin';
const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
const text = (length: number) => `VARCHAR(${length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`;
const options = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci';

const tables: readonly [name: string, definition: string][] = [
  // The id is that of its row in reading_consumers, which counts what left its outbox and what was lost.
  [
    'sinks',
    `id ${uuid} NOT NULL,
     tenant_id ${uuid} NOT NULL,
     name ${text(100)} NOT NULL,
     kind ${ascii(20)} NOT NULL,
     settings JSON NOT NULL,
     secrets BLOB NULL,
     filter JSON NOT NULL,
     batch_size INT UNSIGNED NOT NULL,
     max_age_ms INT UNSIGNED NOT NULL,
     state ${ascii(20)} NOT NULL DEFAULT 'active',
     state_reason ${text(300)} NULL,
     delivered BIGINT UNSIGNED NOT NULL DEFAULT 0,
     rejected BIGINT UNSIGNED NOT NULL DEFAULT 0,
     skipped BIGINT UNSIGNED NOT NULL DEFAULT 0,
     duplicate BIGINT UNSIGNED NOT NULL DEFAULT 0,
     dropped_letters BIGINT UNSIGNED NOT NULL DEFAULT 0,
     failing_since DATETIME(3) NULL,
     retry_at DATETIME(3) NULL,
     last_error ${text(300)} NULL,
     last_error_at DATETIME(3) NULL,
     last_delivered_at DATETIME(3) NULL,
     created_by ${ascii(60)} NOT NULL,
     version INT UNSIGNED NOT NULL DEFAULT 1,
     created_at DATETIME(3) NOT NULL,
     updated_at DATETIME(3) NOT NULL,
     PRIMARY KEY (id),
     UNIQUE KEY uq_sinks_name (tenant_id, name),
     KEY ix_sinks_state (state),
     CONSTRAINT fk_sinks_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE ON UPDATE NO ACTION`,
  ],
  // kind: rejected; replay = to be sent again; test = no reading, sent once.
  [
    'sink_dead_letters',
    `id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
     sink_id ${uuid} NOT NULL,
     kind ${ascii(20)} NOT NULL,
     reason ${text(300)} NOT NULL,
     point JSON NOT NULL,
     created_at DATETIME(3) NOT NULL,
     PRIMARY KEY (id),
     KEY ix_sink_dead_letters_sink (sink_id, kind, id),
     CONSTRAINT fk_sink_dead_letters_sink FOREIGN KEY (sink_id) REFERENCES sinks (id) ON DELETE CASCADE ON UPDATE NO ACTION`,
  ],
];

export class Sinks20261128040000 implements MigrationInterface {
  readonly name = 'Sinks20261128040000';

  async up(runner: QueryRunner): Promise<void> {
    for (const [name, definition] of tables)
      await runner.query(`CREATE TABLE ${name} (${definition}) ${options}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const [name] of [...tables].reverse()) await runner.query(`DROP TABLE ${name}`);
  }
}
