/** What the authenticator asks the database: one statement per kind of principal. */
import type { EntityManager } from 'typeorm';
import type { BoardStatus, CredentialState } from '../../common/db/entities/boards.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { TenantRole } from '../../common/db/roles.ts';

export interface BoardPrincipal {
  tenantId: string;
  status: BoardStatus;
  /** undefined = the key is not one of this board. */
  credential: { id: string; state: CredentialState } | undefined;
}

export async function findBoardPrincipal(
  manager: EntityManager,
  boardUuid: string,
  publicKey: string,
): Promise<BoardPrincipal | undefined> {
  const [row] = (await manager.query(
    `SELECT b.tenant_id AS tenantId, b.status, c.id, c.state
     FROM boards b LEFT JOIN board_credentials c ON c.board_uuid = b.uuid AND c.public_key = ?
     WHERE b.uuid = ?`,
    [publicKey, boardUuid],
  )) as { tenantId: string; status: BoardStatus; id: string | null; state: CredentialState | null }[];
  if (!row) return undefined;
  const { id, state, ...board } = row;
  return { ...board, credential: id === null || state === null ? undefined : { id, state } };
}

export interface CodePrincipal {
  boardUuid: string;
  tenantId: string;
  boardStatus: BoardStatus;
  expired: boolean;
  revoked: boolean;
}

export async function findCodePrincipal(
  manager: EntityManager,
  codeHash: string,
): Promise<CodePrincipal | undefined> {
  const [row] = (await manager.query(
    `SELECT c.board_uuid AS boardUuid, b.tenant_id AS tenantId, b.status AS boardStatus,
            c.expires_at <= UTC_TIMESTAMP(3) AS expired, c.revoked_at IS NOT NULL AS revoked
     FROM enrolment_codes c JOIN boards b ON b.uuid = c.board_uuid WHERE c.code_hash = ?`,
    [codeHash],
  )) as (Omit<CodePrincipal, 'expired' | 'revoked'> & { expired: unknown; revoked: unknown })[];
  return row && { ...row, expired: Number(row.expired) === 1, revoked: Number(row.revoked) === 1 };
}

export interface KeyPrincipal {
  id: string;
  tenantId: string;
  secretHash: string;
  role: TenantRole;
  boards: string[] | null;
  procedures: string[] | null;
  expired: boolean;
  revoked: boolean;
}

const keyColumns = `id, tenant_id AS tenantId, secret_hash AS secretHash, role, boards, procedures,
  COALESCE(expires_at <= UTC_TIMESTAMP(3), 0) AS expired, revoked_at IS NOT NULL AS revoked`;

export async function findKeyPrincipal(
  manager: EntityManager,
  keyId: string,
): Promise<KeyPrincipal | undefined> {
  const [row] = (await manager.query(`SELECT ${keyColumns} FROM api_keys WHERE id = ?`, [keyId])) as KeyRow[];
  return row && toKey(row);
}

/** Keys that lost their rights within the last seconds: their sessions must end. */
export async function findEndedKeys(manager: EntityManager, withinSeconds: number): Promise<string[]> {
  const rows = (await manager.query(
    `SELECT id FROM api_keys
     WHERE revoked_at BETWEEN UTC_TIMESTAMP(3) - INTERVAL ? SECOND AND UTC_TIMESTAMP(3)
        OR expires_at BETWEEN UTC_TIMESTAMP(3) - INTERVAL ? SECOND AND UTC_TIMESTAMP(3)`,
    [withinSeconds, withinSeconds],
  )) as { id: string }[];
  return rows.map((row) => row.id);
}

type KeyRow = Omit<KeyPrincipal, 'expired' | 'revoked' | 'boards' | 'procedures'> & {
  expired: unknown;
  revoked: unknown;
  boards: unknown;
  procedures: unknown;
};

function toKey(row: KeyRow): KeyPrincipal {
  return {
    ...row,
    boards: toList(row.boards),
    procedures: toList(row.procedures),
    expired: Number(row.expired) === 1,
    revoked: Number(row.revoked) === 1,
  };
}

function toList(value: unknown): string[] | null {
  const list = fromJsonColumn<unknown>(value);
  if (list === null || list === undefined) return null;
  // A scope that cannot be read must not become "everything".
  return Array.isArray(list) ? list.filter((each) => typeof each === 'string') : [];
}
