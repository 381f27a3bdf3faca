import { readQuotaLimits, requirePlace } from '../../common/db/queries/quotas.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { type BoardReference, getBoardAccess, tenantForCreation } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import type { HandlersOf, Schemas } from '../http/operation.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import {
  deleteBoardRow,
  insertBoard,
  lockBoard,
  reinstateBoardRow,
  renewEnrolmentCode,
  revokeBoardRow,
  updateBoardRow,
} from './board-changes.ts';
import { readBoard } from './board-queries.ts';
import type { BoardSessions } from './board-sessions.ts';

type BoardOperations =
  | 'createBoard'
  | 'getBoard'
  | 'updateBoard'
  | 'deleteBoard'
  | 'createEnrolmentCode'
  | 'revokeBoard'
  | 'reinstateBoard';

export function createBoardHandlers(
  { database, config }: ApiDeps,
  boardSessions: BoardSessions,
): HandlersOf<BoardOperations> {
  function toCode({ code, expiresAt }: { code: string; expiresAt: Date }): Schemas['EnrolmentCode'] {
    const { wampUrl } = config;
    return { code, expiresAt: expiresAt.toISOString(), ...(wampUrl !== undefined && { wampUrl }) };
  }

  /**
   * For changes, ahead of their transaction: a plain read in front of the lock would fix what the
   * transaction sees to the time before it waited for the lock.
   */
  const findBoard = (request: BoardReference) => database.read((manager) => getBoardAccess(manager, request));

  return {
    async createBoard(request) {
      const { tenant: reference, ...fields } = request.body;
      const { tenantId, limits } = await database.read(async (manager) => {
        const id = await tenantForCreation(manager, request, reference);
        return { tenantId: id, limits: await readQuotaLimits(manager, id, config.quotas) };
      });
      return createOnce(database, request, async (manager) => {
        await requirePlace(manager, tenantId, 'boards', limits.boards);
        const uuid = await insertBoard(manager, tenantId, fields);
        const code = await renewEnrolmentCode(manager, uuid, creatorOf(request.principal));
        await auditChange(manager, request, {
          tenantId,
          targetKind: 'board',
          target: uuid,
          detail: { name: fields.name },
        });
        const board = await readBoard(manager, uuid);
        return {
          status: 201,
          headers: { Location: `/v1/boards/${uuid}`, ...versionTag(board.version) },
          body: { ...board, enrolmentCode: toCode(code) },
        };
      });
    },

    async getBoard(request) {
      const board = await database.read(async (manager) => {
        const { uuid } = await getBoardAccess(manager, request);
        return readBoard(manager, uuid);
      });
      return { status: 200, headers: versionTag(board.version), body: board };
    },

    async updateBoard(request) {
      const { version: _version, ...fields } = request.body;
      const expected = expectedVersion(request);
      const access = await findBoard(request);
      const board = await database.transaction(async (manager) => {
        requireVersion(expected, (await lockBoard(manager, access.uuid)).version);
        await updateBoardRow(manager, access, fields);
        await auditChange(manager, request, {
          tenantId: access.tenantId,
          targetKind: 'board',
          target: access.uuid,
          detail: { fields: Object.keys(fields) },
        });
        return readBoard(manager, access.uuid);
      });
      return { status: 200, headers: versionTag(board.version), body: board };
    },

    async deleteBoard(request) {
      const board = await findBoard(request);
      await database.transaction(async (manager) => {
        await lockBoard(manager, board.uuid);
        await deleteBoardRow(manager, board);
        await auditChange(manager, request, {
          tenantId: board.tenantId,
          targetKind: 'board',
          target: board.uuid,
          detail: { name: board.name },
        });
      });
      boardSessions.disconnect(board, 'deleted');
      return { status: 204 };
    },

    async createEnrolmentCode(request) {
      return createOnce(database, request, async (manager) => {
        const board = await getBoardAccess(manager, request);
        if ((await lockBoard(manager, board.uuid)).status === 'revoked')
          throw new AppError('conflict', 'the board is revoked; reinstate it first');
        const code = await renewEnrolmentCode(manager, board.uuid, creatorOf(request.principal));
        await auditChange(manager, request, {
          tenantId: board.tenantId,
          targetKind: 'board',
          target: board.uuid,
        });
        return { status: 201, body: toCode(code) };
      });
    },

    async revokeBoard(request) {
      const found = await findBoard(request);
      const board = await database.transaction(async (manager) => {
        if ((await lockBoard(manager, found.uuid)).status !== 'revoked') {
          await auditChange(manager, request, {
            tenantId: found.tenantId,
            targetKind: 'board',
            target: found.uuid,
          });
          await revokeBoardRow(manager, found);
        }
        return readBoard(manager, found.uuid);
      });
      boardSessions.disconnect(found, 'revoked');
      return { status: 200, body: board };
    },

    async reinstateBoard(request) {
      const access = await findBoard(request);
      const board = await database.transaction(async (manager) => {
        if ((await lockBoard(manager, access.uuid)).status !== 'revoked')
          throw new AppError('conflict', 'the board is not revoked');
        await auditChange(manager, request, {
          tenantId: access.tenantId,
          targetKind: 'board',
          target: access.uuid,
        });
        await reinstateBoardRow(manager, access);
        return readBoard(manager, access.uuid);
      });
      return { status: 200, body: board };
    },
  };
}
