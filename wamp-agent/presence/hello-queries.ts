/** What hello writes beside the session: the key that joined, and contracts. */
import type { EntityManager } from 'typeorm';
import type { CredentialState } from '../../common/db/entities/boards.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { ProcedureContract } from '../../common/wamp/contract.ts';

/**
 * The key of a session that has joined: a pending one becomes active and revokes older ones, which
 * ends a re-enrolment. Answers true when that happened. Throws `invalid-credentials` for a key that
 * was revoked since.
 */
export async function activateCredential(
  manager: EntityManager,
  boardUuid: string,
  credentialId: string | undefined,
): Promise<boolean> {
  const usable = (await manager.query(
    `SELECT id, state, created_at AS createdAt FROM board_credentials
     WHERE board_uuid = ? AND state <> 'revoked'`,
    [boardUuid],
  )) as { id: string; state: CredentialState; createdAt: Date }[];
  const own = usable.find((each) => each.id === credentialId);
  if (!own) throw new AppError('invalid-credentials', 'the key of this session is revoked');
  if (own.state === 'active') return false;
  await manager.query(
    `UPDATE board_credentials SET state = 'active', first_joined_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [own.id],
  );
  const older = usable
    .filter((each) => each.id !== own.id && each.createdAt <= own.createdAt)
    .map((each) => each.id);
  if (older.length > 0)
    await manager.query(
      `UPDATE board_credentials SET state = 'revoked', revoked_at = UTC_TIMESTAMP(3) WHERE id IN (?)`,
      [older],
    );
  return true;
}

/**
 * Rows are deleted by their whole key: deleting a range that holds nothing locks the gap, and boards
 * that come for the first time, many at once, would deadlock one another.
 */
export async function deleteNamed(
  manager: EntityManager,
  table: 'procedure_contracts' | 'modules',
  boardUuid: string,
  names: readonly string[],
): Promise<void> {
  if (names.length === 0) return;
  await manager.query(`DELETE FROM ${table} WHERE (board_uuid, name) IN (?)`, [
    names.map((name) => [boardUuid, name]),
  ]);
}

export async function replaceContracts(
  manager: EntityManager,
  boardUuid: string,
  hash: string,
  contracts: readonly ProcedureContract[],
): Promise<void> {
  const known = (await manager.query('SELECT name FROM procedure_contracts WHERE board_uuid = ?', [
    boardUuid,
  ])) as { name: string }[];
  await deleteNamed(
    manager,
    'procedure_contracts',
    boardUuid,
    known.map((each) => each.name),
  );
  if (contracts.length > 0)
    await manager.query('INSERT INTO procedure_contracts (board_uuid, name, contract) VALUES ?', [
      contracts.map((each) => [boardUuid, each.name, JSON.stringify(each)]),
    ]);
  await manager.query('UPDATE boards SET contracts_hash = ? WHERE uuid = ?', [hash, boardUuid]);
}
