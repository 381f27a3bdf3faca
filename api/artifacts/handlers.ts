/** Files that boards sent as results of operations. */
import type { EntityManager } from 'typeorm';
import { createArtifactStore } from '../../common/artifacts/store.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Principal } from '../auth/principal.ts';
import type { ApiDeps } from '../deps.ts';
import { type HandlersOf, type OperationId, streamed } from '../http/operation.ts';
import { type PageRequest, pageRequest, toPage } from '../http/paging.ts';
import { allowsInTenant, roleIn } from '../http/permissions.ts';
import { getOperationAccess, mayKnow } from '../operations/access.ts';
import { type ArtifactListRow, artifactColumns, toArtifact } from '../operations/target-queries.ts';
import { sendArtifact } from './download.ts';

const byBoard = 'board';

export function createArtifactHandlers({
  database,
  config,
}: ApiDeps): HandlersOf<'listArtifacts' | 'getArtifact' | 'downloadArtifact'> {
  const store = config.artifactDir === undefined ? undefined : createArtifactStore(config.artifactDir);
  return {
    async listArtifacts(request) {
      const page = pageRequest(request.query, byBoard, ['uuid', 'number', 'text']);
      const rows = await database.read(async (manager) => {
        const { id } = await getOperationAccess(manager, request);
        return listRows(manager, id, page);
      });
      const body = toPage(rows, page.limit, byBoard, toArtifact, (row) => [
        row.boardUuid,
        row.attempt,
        row.name,
      ]);
      return { status: 200, body };
    },

    async getArtifact(request) {
      const row = await database.read((manager) => getArtifactAccess(manager, request));
      return { status: 200, body: toArtifact(row) };
    },

    async downloadArtifact(request) {
      const row = await database.read((manager) => getArtifactAccess(manager, request));
      const artifact = toArtifact(row);
      const { state, received, size } = artifact;
      if (state !== 'complete')
        throw new AppError('conflict', `the artifact is ${state}`, { details: { state, received, size } });
      if (!store) throw new AppError('unavailable', 'this api knows no directory of artifacts');
      const { http, context } = request;
      await sendArtifact(store, artifact, { ...http, context });
      return streamed;
    },
  };
}

interface ArtifactAccessRow extends ArtifactListRow {
  tenantId: string;
  createdBy: string | null;
}

/** The artifact of the path, if the caller may know its operation. Throws AppError `not-found` or `forbidden`. */
async function getArtifactAccess(
  manager: EntityManager,
  {
    operationId,
    principal,
    path,
  }: { operationId: OperationId; principal: Principal; path: { artifact: string } },
): Promise<ArtifactListRow> {
  const [row] = (await manager.query(
    `SELECT ${artifactColumns}, tenant_id AS tenantId,
            (SELECT o.created_by FROM operations o WHERE o.id = artifacts.operation_id) AS createdBy
     FROM artifacts WHERE id = ?`,
    [path.artifact.toLowerCase()],
  )) as ArtifactAccessRow[];
  if (!row || roleIn(principal, row.tenantId) === undefined || !mayKnow(principal, row.createdBy ?? ''))
    throw new AppError('not-found', 'there is no such artifact');
  if (!allowsInTenant(operationId, principal, row.tenantId))
    throw new AppError('forbidden', `your role in the artifact's tenant does not allow ${operationId}`);
  return row;
}

/** In the order of their unique key. */
async function listRows(
  manager: EntityManager,
  operationId: string,
  { after, limit }: PageRequest,
): Promise<ArtifactListRow[]> {
  const [board, attempt, name] = after ?? [];
  const beyond = 'AND (board_uuid > ? OR (board_uuid = ? AND (attempt > ? OR (attempt = ? AND name > ?))))';
  return manager.query(
    `SELECT ${artifactColumns} FROM artifacts WHERE operation_id = ? ${after ? beyond : ''}
     ORDER BY board_uuid, attempt, name LIMIT ?`,
    [operationId, ...(after ? [board, board, attempt, attempt, name] : []), limit + 1],
  );
}
