/** Modules of boards: who is let in, and what was counted of each. Decisions lock the board's row first. */
import { appendEvents } from '../../common/db/queries/events.ts';
import {
  countDevices,
  type ModuleChange,
  moduleEvent,
  renewModulesVersion,
} from '../../common/db/queries/modules.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { type ModuleState, moduleLimits } from '../../common/wamp/modules.ts';
import { type BoardAccess, type BoardReference, getBoardAccess, getTenantAccess } from '../access.ts';
import { type AuditTarget, auditChange, creatorOf } from '../audit/audit.ts';
import { lockBoard } from '../boards/board-changes.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import type { HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import type { BoardAsks } from './board-asks.ts';
import {
  forgetStrangers,
  getModuleRow,
  insertModule,
  listModuleRows,
  listSources,
  listTenantModuleRows,
  type ModuleRow,
  toModules,
  updateModuleRow,
} from './module-queries.ts';

type ModuleOperations =
  | 'listModules'
  | 'createModule'
  | 'clearQuarantine'
  | 'getModule'
  | 'updateModule'
  | 'deleteModule'
  | 'listTenantModules'
  | 'listSources';

const byName = 'name';
const byBoard = 'board';

export function createModuleHandlers({ database }: ApiDeps, asks: BoardAsks): HandlersOf<ModuleOperations> {
  /** For changes, ahead of their transaction: see api/boards/handlers.ts. */
  const findBoard = (request: BoardReference) => database.read((manager) => getBoardAccess(manager, request));

  return {
    async listModules(request) {
      const { state, origin } = request.query;
      const page = pageRequest(request.query, byName, ['text']);
      const { rows, shown, strangers } = await database.read(async (manager) => {
        const { uuid } = await getBoardAccess(manager, request);
        const filter = { ...(state && { state }), ...(origin && { origin }) };
        const found = await listModuleRows(manager, uuid, filter, page);
        const counts = await countDevices(manager, uuid);
        return {
          rows: found,
          shown: await toModules(manager, found.slice(0, page.limit)),
          strangers: counts.strangers,
        };
      });
      const quarantine = { used: strangers, limit: moduleLimits.strangers };
      return {
        status: 200,
        body: { ...toPage(rows, page.limit, byName, nothing, byNameKey), items: shown, quarantine },
      };
    },

    async clearQuarantine(request) {
      const board = await findBoard(request);
      const forgotten = await database.transaction(async (manager) => {
        await lockBoard(manager, board.uuid);
        const names = await forgetStrangers(manager, board.uuid);
        if (names.length > 0) await renewModulesVersion(manager, board.uuid);
        await auditChange(manager, request, {
          tenantId: board.tenantId,
          targetKind: 'board',
          target: board.uuid,
          detail: { forgotten: names.length, modules: names.slice(0, moduleLimits.strangers) },
        });
        await appendEvents(
          manager,
          names.map((module) =>
            moduleEvent({
              boardUuid: board.uuid,
              tenantId: board.tenantId,
              module,
              origin: 'discovered',
              state: 'quarantined',
              change: 'forgotten',
            }),
          ),
        );
        return names.length;
      });
      if (forgotten > 0) asks.askBoard(board, request.context.traceparent);
      return { status: 200, body: { forgotten } };
    },

    async listTenantModules(request) {
      const page = pageRequest(request.query, byBoard, ['uuid', 'text']);
      const { rows, shown } = await database.read(async (manager) => {
        const { id } = await getTenantAccess(manager, request, request.path.tenant);
        const found = await listTenantModuleRows(manager, id, request.query.state, page);
        return { rows: found, shown: await toModules(manager, found.slice(0, page.limit)) };
      });
      return {
        status: 200,
        body: { ...toPage(rows, page.limit, byBoard, nothing, byBoardKey), items: shown },
      };
    },

    async createModule(request) {
      const { name, description = null, kind = null, state = 'accepted' } = request.body;
      const board = await findBoard(request);
      let isNew = false;
      const answer = await createOnce(database, request, async (manager) => {
        await lockBoard(manager, board.uuid);
        await insertModule(manager, {
          boardUuid: board.uuid,
          tenantId: board.tenantId,
          name,
          description,
          kind,
          state,
          decidedBy: creatorOf(request.principal),
        });
        await renewModulesVersion(manager, board.uuid);
        await auditChange(manager, request, auditTarget(board, name, { state }));
        const row = await getModuleRow(manager, board.uuid, name);
        const [module] = await toModules(manager, [row]);
        if (!module) throw new AppError('internal', 'the module that was created is not there');
        await appendEvents(manager, [eventOf(row, state, 'created')]);
        isNew = true;
        return {
          status: 201,
          headers: {
            Location: `/v1/boards/${board.uuid}/modules/${name}`,
            ...versionTag(module.version),
          },
          body: module,
        };
      });
      if (isNew) asks.askBoard(board, request.context.traceparent);
      return answer;
    },

    async getModule(request) {
      const module = await database.read(async (manager) => {
        const { uuid } = await getBoardAccess(manager, request);
        const [found] = await toModules(manager, [await getModuleRow(manager, uuid, request.path.module)]);
        return found;
      });
      if (!module) throw new AppError('not-found', 'this board has no such module');
      return { status: 200, headers: versionTag(module.version), body: module };
    },

    async updateModule(request) {
      const { version: _version, state, description, kind } = request.body;
      const expected = expectedVersion(request);
      const board = await findBoard(request);
      const { module, isDecided } = await database.transaction(async (manager) => {
        await lockBoard(manager, board.uuid);
        const row = await getModuleRow(manager, board.uuid, request.path.module, { lock: true });
        requireVersion(expected, row.version);
        if (description !== undefined && row.origin === 'declared')
          throw new AppError('conflict', 'the board declares this module, and describes it itself');
        await updateModuleRow(manager, row, {
          ...(description !== undefined && { description }),
          ...(kind !== undefined && { kind }),
          ...(state !== undefined && {
            state,
            decided_by: creatorOf(request.principal),
            decided_at: new Date(),
          }),
        });
        const isChanged = state !== undefined && state !== row.state;
        if (isChanged) await renewModulesVersion(manager, board.uuid);
        const fields = Object.keys(request.body).filter((field) => field !== 'version');
        await auditChange(
          manager,
          request,
          auditTarget(board, row.name, { fields, ...(state !== undefined && { state, before: row.state }) }),
        );
        const [changed] = await toModules(manager, [await getModuleRow(manager, board.uuid, row.name)]);
        if (isChanged) await appendEvents(manager, [eventOf(row, state, state)]);
        return { module: changed, isDecided: isChanged };
      });
      if (!module) throw new AppError('not-found', 'this board has no such module');
      if (isDecided) asks.askBoard(board, request.context.traceparent);
      return { status: 200, headers: versionTag(module.version), body: module };
    },

    async deleteModule(request) {
      const board = await findBoard(request);
      await database.transaction(async (manager) => {
        await lockBoard(manager, board.uuid);
        const row = await getModuleRow(manager, board.uuid, request.path.module, { lock: true });
        if (row.origin === 'declared')
          throw new AppError('conflict', 'the board declares this module; it goes when that ends');
        await manager.query('DELETE FROM modules WHERE board_uuid = ? AND name = ?', [board.uuid, row.name]);
        await renewModulesVersion(manager, board.uuid);
        await auditChange(manager, request, auditTarget(board, row.name, { state: row.state }));
        await appendEvents(manager, [eventOf(row, row.state, 'forgotten')]);
      });
      asks.askBoard(board, request.context.traceparent);
      return { status: 204 };
    },

    async listSources(request) {
      const items = await database.read(async (manager) => {
        const { uuid } = await getBoardAccess(manager, request);
        return listSources(manager, uuid);
      });
      return { status: 200, body: { items } };
    },
  };
}

const nothing = () => undefined;
const byNameKey = (row: ModuleRow) => [row.name];
const byBoardKey = (row: ModuleRow) => [row.board, row.name];

function auditTarget(board: BoardAccess, name: string, detail: AuditTarget['detail']): AuditTarget {
  return {
    tenantId: board.tenantId,
    targetKind: 'module',
    target: `${board.uuid}/${name}`,
    ...(detail && { detail }),
  };
}

function eventOf(row: ModuleRow, state: ModuleState, change: ModuleChange) {
  return moduleEvent({
    boardUuid: row.board,
    tenantId: row.tenant,
    module: row.name,
    origin: row.origin,
    state,
    change,
  });
}
