/** Rows of `artifacts`: what boards have sent of their operations' files. */
import type { EntityManager } from 'typeorm';
import type { ArtifactReport } from '../../wamp/artifacts.ts';

/** An attempt on a board, with the artifacts that its end speaks of. */
export interface AttemptArtifacts {
  boardUuid: string;
  operationId: string;
  attempt: number;
  artifacts: readonly ArtifactReport[];
}

const keyOf = (operationId: string, boardUuid: string, attempt: number, name: string, sha256: string) =>
  `${operationId} ${boardUuid} ${attempt} ${sha256} ${name}`;

/**
 * Those of the attempts whose artifacts are not all in the store: an end with artifacts is taken only
 * when they are, else nobody could ever have them.
 */
export async function findIncomplete<T extends AttemptArtifacts>(
  manager: EntityManager,
  attempts: readonly T[],
): Promise<T[]> {
  const asked = attempts.filter(({ artifacts }) => artifacts.length > 0);
  if (asked.length === 0) return [];
  const rows = (await manager.query(
    `SELECT operation_id AS operationId, board_uuid AS boardUuid, attempt, name, sha256 FROM artifacts
     WHERE operation_id IN (?) AND board_uuid IN (?) AND state = 'complete'`,
    [[...new Set(asked.map((each) => each.operationId))], [...new Set(asked.map((each) => each.boardUuid))]],
  )) as { operationId: string; boardUuid: string; attempt: number; name: string; sha256: string }[];
  const complete = new Set(
    rows.map((row) => keyOf(row.operationId, row.boardUuid, row.attempt, row.name, row.sha256)),
  );
  return asked.filter(({ operationId, boardUuid, attempt, artifacts }) =>
    artifacts.some(({ name, sha256 }) => !complete.has(keyOf(operationId, boardUuid, attempt, name, sha256))),
  );
}

export interface ArtifactStanding extends ArtifactReport {
  id: string;
  attempt: number;
  received: number;
  /** `failed`: its bytes did not have its hash, and it begins anew. */
  state: 'receiving' | 'complete' | 'failed';
}

interface RowOfArtifact extends Omit<ArtifactStanding, 'size' | 'received'> {
  size: number | string;
  received: number | string;
}

export interface ArtifactKey {
  boardUuid: string;
  operationId: string;
  attempt: number;
  name: string;
}

export async function findArtifact(
  manager: EntityManager,
  { boardUuid, operationId, attempt, name }: ArtifactKey,
): Promise<ArtifactStanding | undefined> {
  const [row] = (await manager.query(
    `SELECT id, attempt, name, media_type AS mediaType, size, sha256, received, state FROM artifacts
     WHERE operation_id = ? AND board_uuid = ? AND attempt = ? AND name = ?`,
    [operationId, boardUuid, attempt, name],
  )) as RowOfArtifact[];
  return row && { ...row, size: Number(row.size), received: Number(row.received) };
}

export async function countArtifacts(
  manager: EntityManager,
  { boardUuid, operationId, attempt }: Omit<ArtifactKey, 'name'>,
): Promise<number> {
  const [row] = (await manager.query(
    'SELECT COUNT(*) AS n FROM artifacts WHERE operation_id = ? AND board_uuid = ? AND attempt = ?',
    [operationId, boardUuid, attempt],
  )) as { n: number | string }[];
  return Number(row?.n ?? 0);
}

/** Bytes of the files that a board announced within the last day, by the times in their ids. */
export async function countRecentBytes(
  manager: EntityManager,
  { tenantId, boardUuid, since }: { tenantId: string; boardUuid: string; since: string },
): Promise<number> {
  const [row] = (await manager.query(
    'SELECT COALESCE(SUM(size), 0) AS bytes FROM artifacts WHERE tenant_id = ? AND id > ? AND board_uuid = ?',
    [tenantId, since, boardUuid],
  )) as { bytes: number | string }[];
  return Number(row?.bytes ?? 0);
}

const rowsPerStatement = 1000;

/** Nothing happens when the row is there already: another wamp-agent was first. */
export async function insertArtifact(
  manager: EntityManager,
  row: ArtifactKey & ArtifactReport & { id: string; tenantId: string; keptDays: number },
): Promise<void> {
  await manager.query(
    `INSERT IGNORE INTO artifacts (id, tenant_id, board_uuid, operation_id, attempt, name, media_type, size, sha256,
       received, state, created_at, updated_at, expires_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 'receiving', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3),
       UTC_TIMESTAMP(3) + INTERVAL ? DAY)`,
    [
      row.id,
      row.tenantId,
      row.boardUuid,
      row.operationId,
      row.attempt,
      row.name,
      row.mediaType,
      row.size,
      row.sha256,
      row.keptDays,
    ],
  );
}

/** What an upload is moved to, from what it was when that was decided on. False: somebody else moved it. */
export async function moveArtifact(
  manager: EntityManager,
  from: ArtifactStanding,
  to: { received: number; state: ArtifactStanding['state'] } & Partial<
    Pick<ArtifactReport, 'mediaType' | 'size' | 'sha256'>
  >,
): Promise<boolean> {
  const { mediaType = from.mediaType, size = from.size, sha256 = from.sha256 } = to;
  const result = (await manager.query(
    `UPDATE artifacts SET received = ?, state = ?, media_type = ?, size = ?, sha256 = ?, updated_at = UTC_TIMESTAMP(3)
     WHERE id = ? AND received = ? AND state = ? AND sha256 = ?`,
    [to.received, to.state, mediaType, size, sha256, from.id, from.received, from.state, from.sha256],
  )) as { affectedRows: number };
  return result.affectedRows === 1;
}

/** Whether a tenant has these bytes already: a hash alone gives nobody another tenant's file. */
export async function isFileOfTenant(
  manager: EntityManager,
  tenantId: string,
  sha256: string,
): Promise<boolean> {
  const rows = (await manager.query(
    `SELECT 1 FROM artifacts WHERE sha256 = ? AND tenant_id = ? AND state = 'complete'
       AND expires_at > UTC_TIMESTAMP(3) LIMIT 1`,
    [sha256, tenantId],
  )) as unknown[];
  return rows.length > 0;
}

export async function findExpiredArtifacts(
  manager: EntityManager,
  limit: number,
): Promise<{ id: string; sha256: string }[]> {
  return manager.query(
    'SELECT id, sha256 FROM artifacts WHERE expires_at <= UTC_TIMESTAMP(3) ORDER BY expires_at LIMIT ?',
    [limit],
  );
}

/** Those of the files that a row needs which has not expired. */
export async function findNeededFiles(
  manager: EntityManager,
  hashes: readonly string[],
): Promise<Set<string>> {
  const needed = new Set<string>();
  for (let from = 0; from < hashes.length; from += rowsPerStatement) {
    const rows = (await manager.query(
      `SELECT DISTINCT sha256 FROM artifacts
       WHERE sha256 IN (?) AND state = 'complete' AND expires_at > UTC_TIMESTAMP(3)`,
      [hashes.slice(from, from + rowsPerStatement)],
    )) as { sha256: string }[];
    for (const row of rows) needed.add(row.sha256);
  }
  return needed;
}

export async function deleteArtifacts(manager: EntityManager, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await manager.query('DELETE FROM artifacts WHERE id IN (?)', [ids]);
}

/** Those of the ids whose upload is not over. */
export async function findReceiving(manager: EntityManager, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = (await manager.query("SELECT id FROM artifacts WHERE id IN (?) AND state <> 'complete'", [
    ids,
  ])) as { id: string }[];
  return new Set(rows.map((row) => row.id));
}
