/** Sets of boards: what a selector matches, or boards by name. */
import type { EntityManager } from 'typeorm';
import { parseLabelSelector } from '../../common/db/queries/label-selector.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { tenantForCreation, visibleTenants } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import type { ApiRequest, HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import { getNamedAccess, type NamedAccess } from '../named-access.ts';
import { resolveBoards } from '../tenants/api-key-queries.ts';
import {
  addFleetBoardRow,
  findAlarmRuleOfFleet,
  findScheduleOfFleet,
  getBoardOfTenant,
  insertFleet,
  listFleetRows,
  lockFleet,
  readFleet,
  removeFleetBoardRow,
  replaceFleetBoards,
  toFleet,
  updateFleetRow,
} from './fleet-queries.ts';

type FleetOperations =
  | 'listFleets'
  | 'createFleet'
  | 'getFleet'
  | 'updateFleet'
  | 'deleteFleet'
  | 'addFleetBoard'
  | 'removeFleetBoard';
type OneFleet = Exclude<FleetOperations, 'listFleets' | 'createFleet'>;

const order = 'name';

export function createFleetHandlers({ database }: ApiDeps): HandlersOf<FleetOperations> {
  const find = (manager: EntityManager, request: ApiRequest<OneFleet>) =>
    getNamedAccess(manager, request, 'fleets', request.path.fleet, request.query.tenant);
  /** For changes, ahead of their transaction: its first statement is the locking one. */
  const findAhead = (request: ApiRequest<OneFleet>) => database.read((manager) => find(manager, request));

  async function changeBoard(
    request: ApiRequest<'addFleetBoard' | 'removeFleetBoard'>,
    change: (manager: EntityManager, fleetId: string, boardUuid: string) => Promise<boolean>,
  ): Promise<void> {
    const fleet = await findAhead(request);
    await database.transaction(async (manager) => {
      if ((await lockFleet(manager, fleet.id)).selector !== null)
        throw new AppError('conflict', 'the fleet has the boards that its selector matches');
      const board = await getBoardOfTenant(manager, fleet.tenantId, request.path.board);
      if (await change(manager, fleet.id, board)) await updateFleetRow(manager, fleet.id, {});
      await audit(manager, request, fleet, { board });
    });
  }

  return {
    async listFleets(request) {
      const page = pageRequest(request.query, order, ['text', 'uuid']);
      return database.read(async (manager) => {
        const tenants = await visibleTenants(manager, request, request.query.tenant);
        const { items, next } = toPage(
          await listFleetRows(manager, tenants, page),
          page.limit,
          order,
          (row) => row,
          (row) => [row.name, row.id],
        );
        const fleets = [];
        for (const row of items) fleets.push(await toFleet(manager, row));
        return { status: 200, body: { items: fleets, ...(next !== undefined && { next }) } };
      });
    },

    async createFleet(request) {
      const { tenant: reference, name, description = null, selector = null, boards = [] } = request.body;
      checkChoice(request.body);
      return createOnce(database, request, async (manager) => {
        const tenantId = await tenantForCreation(manager, request, reference);
        const createdBy = creatorOf(request.principal);
        const id = await insertFleet(manager, { tenantId, name, description, selector, createdBy });
        if (boards.length > 0)
          await replaceFleetBoards(manager, id, await resolveBoards(manager, tenantId, boards));
        await audit(manager, request, { id, tenantId, name }, { name });
        const fleet = await readFleet(manager, id);
        return {
          status: 201,
          headers: { Location: `/v1/fleets/${id}`, ...versionTag(fleet.version) },
          body: fleet,
        };
      });
    },

    async getFleet(request) {
      const fleet = await database.read(async (manager) =>
        readFleet(manager, (await find(manager, request)).id),
      );
      return { status: 200, headers: versionTag(fleet.version), body: fleet };
    },

    async updateFleet(request) {
      const { name, description, selector, boards } = request.body;
      checkChoice(request.body);
      const expected = expectedVersion(request);
      const access = await findAhead(request);
      const fleet = await database.transaction(async (manager) => {
        requireVersion(expected, (await lockFleet(manager, access.id)).version);
        await updateFleetRow(manager, access.id, {
          ...(name !== undefined && { name }),
          ...(description !== undefined && { description }),
          ...(selector !== undefined && { selector }),
          ...(boards !== undefined && { selector: null }),
        });
        if (selector !== undefined) await replaceFleetBoards(manager, access.id, []);
        if (boards !== undefined)
          await replaceFleetBoards(manager, access.id, await resolveBoards(manager, access.tenantId, boards));
        const { version: _version, boards: _boards, ...fields } = request.body;
        await audit(manager, request, access, { ...fields, ...(boards && { boards: boards.length }) });
        return readFleet(manager, access.id);
      });
      return { status: 200, headers: versionTag(fleet.version), body: fleet };
    },

    async deleteFleet(request) {
      const fleet = await findAhead(request);
      await database.transaction(async (manager) => {
        await lockFleet(manager, fleet.id);
        const schedule = await findScheduleOfFleet(manager, fleet);
        if (schedule !== undefined)
          throw new AppError('conflict', `the schedule "${schedule}" goes to this fleet; change it first`);
        const rule = await findAlarmRuleOfFleet(manager, fleet);
        if (rule !== undefined)
          throw new AppError('conflict', `the alarm rule "${rule}" watches this fleet; change it first`);
        await manager.query('DELETE FROM fleets WHERE id = ?', [fleet.id]);
        await audit(manager, request, fleet, { name: fleet.name });
      });
      return { status: 204 };
    },

    async addFleetBoard(request) {
      await changeBoard(request, addFleetBoardRow);
      return { status: 204 };
    },

    async removeFleetBoard(request) {
      await changeBoard(request, removeFleetBoardRow);
      return { status: 204 };
    },
  };
}

function audit(
  manager: EntityManager,
  request: ApiRequest<Exclude<FleetOperations, 'listFleets' | 'getFleet'>>,
  fleet: NamedAccess,
  detail: Record<string, unknown>,
): Promise<void> {
  return auditChange(manager, request, {
    tenantId: fleet.tenantId,
    targetKind: 'fleet',
    target: fleet.id,
    detail,
  });
}

function checkChoice({ selector, boards }: { selector?: string; boards?: string[] }): void {
  if (selector !== undefined) parseLabelSelector(selector, { name: 'selector', pointer: '/selector' });
  if (selector === undefined || boards === undefined) return;
  throw new AppError('invalid-request', 'a fleet has a selector or named boards, not both', {
    details: { errors: [{ pointer: '/boards', detail: 'must not stand beside selector' }] },
  });
}
