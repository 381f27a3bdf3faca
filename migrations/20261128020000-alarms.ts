import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Alarm rules of tenants (`alarm_rules`), how each stream or board stands by them (`alarm_states`), and
 * what was raised (`alarms`). `alarm_rule_sets` has a row per tenant: whoever evaluates its rules or
 * changes them writes that row first, and waits for the others there.
 */
const uuid = 'CHAR(36) CHARACTER SET ascii COLLATE ascii_bin';
const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
const text = (length: number) => `VARCHAR(${length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`;
const options = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci';

const tables: readonly [name: string, definition: string][] = [
  // swept_version: what the conductors have made of the rules; behind version = there is something to clear.
  [
    'alarm_rule_sets',
    `tenant_id ${uuid} NOT NULL,
     version INT UNSIGNED NOT NULL DEFAULT 1,
     stream_rules INT UNSIGNED NOT NULL DEFAULT 0,
     board_rules INT UNSIGNED NOT NULL DEFAULT 0,
     turn BIGINT UNSIGNED NOT NULL DEFAULT 0,
     swept_version INT UNSIGNED NOT NULL DEFAULT 0,
     swept_at DATETIME(3) NULL,
     PRIMARY KEY (tenant_id),
     CONSTRAINT fk_alarm_rule_sets_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE ON UPDATE NO ACTION`,
  ],
  [
    'alarm_rules',
    `id ${uuid} NOT NULL,
     tenant_id ${uuid} NOT NULL,
     name ${text(100)} NOT NULL,
     severity ${ascii(20)} NOT NULL,
     enabled TINYINT NOT NULL DEFAULT 1,
     target JSON NOT NULL,
     stream ${ascii(150)} NULL,
     alarm_condition JSON NOT NULL,
     for_seconds INT UNSIGNED NOT NULL DEFAULT 0,
     hysteresis DOUBLE NOT NULL DEFAULT 0,
     clear_for_seconds INT UNSIGNED NOT NULL DEFAULT 0,
     alarm_action JSON NULL,
     revision INT UNSIGNED NOT NULL DEFAULT 1,
     created_by ${ascii(60)} NOT NULL,
     version INT UNSIGNED NOT NULL DEFAULT 1,
     created_at DATETIME(3) NOT NULL,
     updated_at DATETIME(3) NOT NULL,
     PRIMARY KEY (id),
     UNIQUE KEY uq_alarm_rules_name (tenant_id, name),
     CONSTRAINT fk_alarm_rules_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE ON UPDATE NO ACTION`,
  ],
  // stream_id 0 = the board itself. Times of readings are epoch milliseconds, as in `readings`.
  [
    'alarm_states',
    `rule_id ${uuid} NOT NULL,
     board_uuid ${uuid} NOT NULL,
     stream_id INT UNSIGNED NOT NULL,
     tenant_id ${uuid} NOT NULL,
     revision INT UNSIGNED NOT NULL,
     phase ${ascii(10)} NOT NULL,
     since BIGINT NULL,
     last_at BIGINT NULL,
     last_number DOUBLE NULL,
     last_text ${text(2000)} NULL,
     peak DOUBLE NULL,
     peak_at BIGINT NULL,
     due_at DATETIME(3) NULL,
     alarm_id ${uuid} NULL,
     PRIMARY KEY (rule_id, stream_id, board_uuid),
     KEY ix_alarm_states_due (due_at),
     KEY ix_alarm_states_tenant (tenant_id, rule_id),
     CONSTRAINT fk_alarm_states_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE ON UPDATE NO ACTION`,
  ],
  // open: 1 until cleared, then NULL: one open alarm per rule and stream is a key.
  [
    'alarms',
    `id ${uuid} NOT NULL,
     tenant_id ${uuid} NOT NULL,
     rule_id ${uuid} NOT NULL,
     rule_name ${text(100)} NOT NULL,
     revision INT UNSIGNED NOT NULL,
     severity ${ascii(20)} NOT NULL,
     board_uuid ${uuid} NOT NULL,
     board_name ${text(100)} NOT NULL,
     stream_id INT UNSIGNED NOT NULL,
     stream ${ascii(150)} NULL,
     open TINYINT NULL,
     state ${ascii(20)} NOT NULL,
     since BIGINT NOT NULL,
     raised_at DATETIME(3) NOT NULL,
     raised_number DOUBLE NULL,
     raised_text ${text(2000)} NULL,
     peak DOUBLE NULL,
     peak_at BIGINT NULL,
     acknowledged_at DATETIME(3) NULL,
     acknowledged_by ${ascii(60)} NULL,
     comment ${text(500)} NULL,
     cleared_at DATETIME(3) NULL,
     clear_reason ${ascii(20)} NULL,
     cleared_number DOUBLE NULL,
     cleared_text ${text(2000)} NULL,
     evidence JSON NOT NULL,
     operation_id ${uuid} NULL,
     action_error ${text(500)} NULL,
     PRIMARY KEY (id),
     UNIQUE KEY uq_alarms_open (rule_id, board_uuid, stream_id, open),
     KEY ix_alarms_tenant (tenant_id, id),
     KEY ix_alarms_state (tenant_id, state, id),
     KEY ix_alarms_open (tenant_id, open, rule_id),
     KEY ix_alarms_board (board_uuid, id),
     KEY ix_alarms_cleared (cleared_at),
     KEY ix_alarms_severity (open, severity),
     CONSTRAINT fk_alarms_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE ON UPDATE NO ACTION`,
  ],
];

export class Alarms20261128020000 implements MigrationInterface {
  readonly name = 'Alarms20261128020000';

  async up(runner: QueryRunner): Promise<void> {
    for (const [name, definition] of tables)
      await runner.query(`CREATE TABLE ${name} (${definition}) ${options}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const [name] of [...tables].reverse()) await runner.query(`DROP TABLE ${name}`);
  }
}
