/** Targets of an operation as clients see them. */
import type { EntityManager } from 'typeorm';
import type { ArtifactRow } from '../../common/db/entities/operations.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { TargetState } from '../../common/operations/states.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Schemas } from '../http/operation.ts';

interface TargetListRow {
  board: string;
  boardName: string | null;
  state: TargetState;
  wave: number | null;
  attempt: number;
  deliveries: number;
  safety: string | null;
  progress: string | JsonObject | null;
  /** JSON as text: a result may be text itself, and drivers differ in whether they parse. */
  result: string | null;
  error: string | JsonObject | null;
  notBefore: Date | null;
  cancelRequested: number;
  dispatchedAt: Date | null;
  acceptedAt: Date | null;
  endedAt: Date | null;
  version: number;
  hasArtifacts: number;
}

export interface TargetPage {
  states?: readonly TargetState[] | undefined;
  /** uuid of the last board before. */
  after?: string | undefined;
  limit: number;
}

/** By the uuid of their board, with their artifacts. */
export async function listTargets(
  manager: EntityManager,
  operationId: string,
  page: TargetPage,
): Promise<Schemas['OperationTarget'][]> {
  const { sql, values } = targetCondition(operationId, page);
  const rows = (await manager.query(
    `SELECT t.board_uuid AS board, b.name AS boardName, t.state, t.wave, t.attempt, t.deliveries, t.safety,
            t.progress, CAST(t.result AS CHAR) AS result, t.error, t.not_before AS notBefore, t.cancel_requested AS cancelRequested,
            t.dispatched_at AS dispatchedAt, t.accepted_at AS acceptedAt, t.ended_at AS endedAt, t.version,
            EXISTS (SELECT 1 FROM artifacts a WHERE a.operation_id = t.operation_id AND a.board_uuid = t.board_uuid) AS hasArtifacts
     FROM operation_targets t LEFT JOIN boards b ON b.uuid = t.board_uuid
     WHERE ${sql} ORDER BY t.board_uuid LIMIT ?`,
    [...values, page.limit],
  )) as TargetListRow[];
  const artifacts = await findArtifacts(
    manager,
    operationId,
    rows.filter(({ hasArtifacts }) => hasArtifacts === 1).map(({ board }) => board),
  );
  return rows.map((row) => toTarget(row, artifacts.get(row.board) ?? []));
}

/** How many of the page's rows fit into so many bytes of results; one in any case. */
export async function countFitting(
  manager: EntityManager,
  operationId: string,
  page: TargetPage,
  maxBytes: number,
): Promise<number> {
  const { sql, values } = targetCondition(operationId, page);
  const rows = (await manager.query(
    `SELECT COALESCE(OCTET_LENGTH(t.result), 0) + COALESCE(OCTET_LENGTH(t.progress), 0)
            + COALESCE(OCTET_LENGTH(t.error), 0) AS bytes
     FROM operation_targets t WHERE ${sql} ORDER BY t.board_uuid LIMIT ?`,
    [...values, page.limit],
  )) as { bytes: number | string }[];
  return fitting(rows, page.limit, maxBytes);
}

/** Of one page: a thousand of the largest results, arguments or evidences would be hundreds of megabytes. */
export const pageBytes = 4 * 1024 * 1024;

/** How many of the rows, of at most `limit`, fit into so many bytes; one in any case. */
export function fitting(
  rows: readonly { bytes: number | string }[],
  limit: number,
  maxBytes: number,
): number {
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    bytes += Number(row.bytes);
    if (bytes > maxBytes) return Math.max(1, index);
  }
  return limit;
}

function targetCondition(
  operationId: string,
  { states, after }: TargetPage,
): { sql: string; values: unknown[] } {
  return {
    sql: `t.operation_id = ?${states ? ' AND t.state IN (?)' : ''}${after === undefined ? '' : ' AND t.board_uuid > ?'}`,
    values: [operationId, ...(states ? [states] : []), ...(after === undefined ? [] : [after])],
  };
}

function toTarget(
  { hasArtifacts: _has, ...row }: TargetListRow,
  artifacts: Schemas['Artifact'][],
): Schemas['OperationTarget'] {
  return {
    ...row,
    progress: fromJsonColumn(row.progress),
    result: row.result === null ? null : (JSON.parse(row.result) as unknown),
    error: fromJsonColumn<Schemas['OperationError'] | null>(row.error),
    artifacts,
    cancelRequested: row.cancelRequested === 1,
    notBefore: row.notBefore?.toISOString() ?? null,
    dispatchedAt: row.dispatchedAt?.toISOString() ?? null,
    acceptedAt: row.acceptedAt?.toISOString() ?? null,
    endedAt: row.endedAt?.toISOString() ?? null,
  };
}

export type ArtifactListRow = Omit<ArtifactRow, 'tenantId' | 'updatedAt'>;

export const artifactColumns = `id, board_uuid AS boardUuid, operation_id AS operationId, attempt, name,
  media_type AS mediaType, size, sha256, received, state, created_at AS createdAt, expires_at AS expiresAt`;

async function findArtifacts(
  manager: EntityManager,
  operationId: string,
  boards: readonly string[],
): Promise<Map<string, Schemas['Artifact'][]>> {
  const found = new Map<string, Schemas['Artifact'][]>();
  if (boards.length === 0) return found;
  const rows = (await manager.query(
    `SELECT ${artifactColumns} FROM artifacts WHERE operation_id = ? AND board_uuid IN (?)
     ORDER BY attempt, name`,
    [operationId, boards],
  )) as ArtifactListRow[];
  for (const row of rows) found.set(row.boardUuid, [...(found.get(row.boardUuid) ?? []), toArtifact(row)]);
  return found;
}

export function toArtifact(row: ArtifactListRow): Schemas['Artifact'] {
  return {
    id: row.id,
    operation: row.operationId,
    board: row.boardUuid,
    name: row.name,
    mediaType: row.mediaType,
    size: Number(row.size),
    sha256: row.sha256,
    state: row.state as Schemas['Artifact']['state'],
    received: Number(row.received),
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt.toISOString(),
  };
}
