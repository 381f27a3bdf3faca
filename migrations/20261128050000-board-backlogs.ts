import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How many readings each board says that it still holds. */
const uuid = 'CHAR(36) CHARACTER SET ascii COLLATE ascii_bin';

export class BoardBacklogs20261128050000 implements MigrationInterface {
  readonly name = 'BoardBacklogs20261128050000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE TABLE board_backlogs (
         board_uuid ${uuid} NOT NULL,
         waiting BIGINT UNSIGNED NOT NULL,
         reported_at DATETIME(3) NOT NULL,
         PRIMARY KEY (board_uuid),
         CONSTRAINT fk_board_backlogs_board FOREIGN KEY (board_uuid) REFERENCES boards (uuid) ON DELETE CASCADE ON UPDATE NO ACTION
       ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE board_backlogs');
  }
}
