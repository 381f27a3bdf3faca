/** The statements of an enrolment. All of them run in one transaction, the code's row locked first. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { BoardStatus, CredentialState } from '../../common/db/entities/boards.ts';
import type { BoardFacts } from '../../common/wamp/agent-procedures.ts';

export interface LockedCode {
  boardUuid: string;
  usedPublicKey: string | null;
  expired: boolean;
  revoked: boolean;
}

export async function lockCode(manager: EntityManager, codeHash: string): Promise<LockedCode | undefined> {
  const [row] = (await manager.query(
    `SELECT board_uuid AS boardUuid, used_public_key AS usedPublicKey,
            expires_at <= UTC_TIMESTAMP(3) AS expired, revoked_at IS NOT NULL AS revoked
     FROM enrolment_codes WHERE code_hash = ? FOR UPDATE`,
    [codeHash],
  )) as { boardUuid: string; usedPublicKey: string | null; expired: unknown; revoked: unknown }[];
  return row && { ...row, expired: Number(row.expired) === 1, revoked: Number(row.revoked) === 1 };
}

export interface EnrollingBoard {
  tenantId: string;
  name: string;
  status: BoardStatus;
}

export async function findEnrollingBoard(
  manager: EntityManager,
  boardUuid: string,
): Promise<EnrollingBoard | undefined> {
  const [row] = (await manager.query(
    'SELECT tenant_id AS tenantId, name, status FROM boards WHERE uuid = ?',
    [boardUuid],
  )) as EnrollingBoard[];
  return row;
}

export async function findCredential(
  manager: EntityManager,
  publicKey: string,
): Promise<{ boardUuid: string; state: CredentialState } | undefined> {
  const [row] = (await manager.query(
    'SELECT board_uuid AS boardUuid, state FROM board_credentials WHERE public_key = ?',
    [publicKey],
  )) as { boardUuid: string; state: CredentialState }[];
  return row;
}

export async function insertCredential(
  manager: EntityManager,
  boardUuid: string,
  publicKey: string,
  facts: BoardFacts,
): Promise<void> {
  await manager.query(
    `INSERT INTO board_credentials (id, board_uuid, public_key, state, hardware, created_at)
     VALUES (?, ?, ?, 'pending', ?, UTC_TIMESTAMP(3))`,
    [randomUUID(), boardUuid, publicKey, JSON.stringify(facts)],
  );
}

export async function spendCode(manager: EntityManager, codeHash: string, publicKey: string): Promise<void> {
  await manager.query(
    'UPDATE enrolment_codes SET used_at = UTC_TIMESTAMP(3), used_public_key = ? WHERE code_hash = ?',
    [publicKey, codeHash],
  );
}
