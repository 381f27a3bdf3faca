/** Operations at set times: what is to be made when. The conductor makes them. */
import type { EntityManager } from 'typeorm';
import { resolveTargets } from '../../common/db/queries/operation-targets.ts';
import { readQuotaLimits, requirePlace } from '../../common/db/queries/quotas.ts';
import { requireTargets } from '../../common/db/queries/require-targets.ts';
import type { ScheduledOperation, ScheduleRow } from '../../common/db/queries/schedule-rows.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid } from '../../common/runtime/guards.ts';
import { tenantForCreation, visibleTenants } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import type { ApiRequest, HandlersOf, Schemas } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import { getNamedAccess } from '../named-access.ts';
import { requireProcedure } from '../operations/require-procedure.ts';
import {
  changedSchedule,
  inOperation,
  newSchedule,
  pausedSchedule,
  resumedSchedule,
  type ScheduleFields,
} from './schedule-change.ts';
import { parseScheduledOperation, parseTiming, toSchedule } from './schedule-request.ts';
import {
  holdFleet,
  insertSchedule,
  listRunRows,
  listScheduleRows,
  readScheduleRow,
  type ScheduleValues,
  toRun,
  updateScheduleRow,
} from './schedule-rows.ts';

type ChangeOperations = 'updateSchedule' | 'deleteSchedule' | 'pauseSchedule' | 'resumeSchedule';
type ScheduleOperations =
  | 'listSchedules'
  | 'createSchedule'
  | 'getSchedule'
  | 'listScheduleRuns'
  | ChangeOperations;
type OneSchedule = Exclude<ScheduleOperations, 'listSchedules' | 'createSchedule'>;

const byName = 'name';
const newest = 'newest';

export function createScheduleHandlers({ database, config }: ApiDeps): HandlersOf<ScheduleOperations> {
  const find = (manager: EntityManager, request: ApiRequest<OneSchedule>) =>
    getNamedAccess(manager, request, 'schedules', request.path.schedule, request.query.tenant);

  /** A change of one schedule: its row is locked first, and a key may only touch what it may call. */
  async function change(
    request: ApiRequest<ChangeOperations>,
    work: (manager: EntityManager, row: ScheduleRow) => Promise<void>,
    detail: Record<string, unknown> = {},
  ): Promise<Schemas['Schedule'] | undefined> {
    const access = await database.read((manager) => find(manager, request));
    return database.transaction(async (manager) => {
      const row = await readScheduleRow(manager, access.id, { lock: true });
      requireProcedure(request.principal, row.operation.procedure);
      await work(manager, row);
      await auditChange(manager, request, {
        tenantId: access.tenantId,
        targetKind: 'schedule',
        target: access.id,
        detail: { name: row.name, ...detail },
      });
      return request.operationId === 'deleteSchedule'
        ? undefined
        : toSchedule(await readScheduleRow(manager, access.id), Date.now());
    });
  }

  /** Pausing and resuming. Whoever resumes one answers for what it makes; pausing makes nothing. */
  async function move(
    request: ApiRequest<'pauseSchedule' | 'resumeSchedule'>,
    to: ScheduleRow['state'],
    moved: (row: ScheduleRow) => ScheduleValues,
  ): Promise<Schemas['Schedule']> {
    const author = request.operationId === 'resumeSchedule' ? creatorOf(request.principal) : undefined;
    const schedule = await change(request, async (manager, row) => {
      if (row.state !== to) await updateScheduleRow(manager, row.id, moved(row), author);
    });
    return schedule as Schemas['Schedule'];
  }

  return {
    async listSchedules(request) {
      const page = pageRequest(request.query, byName, ['text', 'uuid']);
      const rows = await database.read(async (manager) =>
        listScheduleRows(manager, await visibleTenants(manager, request, request.query.tenant), page),
      );
      const now = Date.now();
      const body = toPage(
        rows,
        page.limit,
        byName,
        (row) => toSchedule(row, now),
        (row) => [row.name, row.id],
      );
      return { status: 200, body };
    },

    async createSchedule(request) {
      const { tenant, timing, operation, ...fields } = request.body;
      const now = Date.now();
      const parsed = {
        timing: parseTiming(timing, now),
        operation: parseScheduledOperation(operation, now),
      };
      requireProcedure(request.principal, parsed.operation.procedure);
      // Ahead of the transaction: what it would read, it would hold to while it waits for others.
      const { tenantId, limits, settled } = await database.read(async (manager) => {
        const id = await tenantForCreation(manager, request, tenant);
        return {
          tenantId: id,
          limits: await readQuotaLimits(manager, id, config.quotas),
          settled: await inOperation(settleTarget(manager, id, parsed.operation)),
        };
      });
      const values = newSchedule({ ...fields, timing: parsed.timing, operation: settled }, now);
      return createOnce(database, request, async (manager) => {
        await requirePlace(manager, tenantId, 'schedules', limits.schedules);
        if (settled.target.fleet !== undefined) await holdFleet(manager, tenantId, settled.target.fleet);
        const id = await insertSchedule(manager, tenantId, values, creatorOf(request.principal));
        await auditChange(manager, request, {
          tenantId,
          targetKind: 'schedule',
          target: id,
          detail: { name: values.name, procedure: settled.procedure },
        });
        const schedule = toSchedule(await readScheduleRow(manager, id), now);
        return {
          status: 201,
          headers: { Location: `/v1/schedules/${id}`, ...versionTag(schedule.version) },
          body: schedule,
        };
      });
    },

    async getSchedule(request) {
      const row = await database.read(async (manager) =>
        readScheduleRow(manager, (await find(manager, request)).id),
      );
      return { status: 200, headers: versionTag(row.version), body: toSchedule(row, Date.now()) };
    },

    async updateSchedule(request) {
      const { version: _version, timing, operation, ...rest } = request.body;
      const now = Date.now();
      const expected = expectedVersion(request);
      const fields: ScheduleFields = {
        ...rest,
        ...(timing && { timing: parseTiming(timing, now) }),
        ...(operation && { operation: await settleAhead(request, operation, now) }),
      };
      const schedule = (await change(
        request,
        async (manager, row) => {
          requireVersion(expected, row.version);
          const fleet = fields.operation?.target.fleet;
          if (fleet !== undefined) await holdFleet(manager, row.tenantId, fleet);
          const values = changedSchedule(row, fields, now);
          await updateScheduleRow(manager, row.id, values, creatorOf(request.principal));
        },
        { fields: Object.keys(fields) },
      )) as Schemas['Schedule'];
      return { status: 200, headers: versionTag(schedule.version), body: schedule };
    },

    async deleteSchedule(request) {
      await change(request, async (manager, row) => {
        await manager.query('DELETE FROM schedules WHERE id = ?', [row.id]);
      });
      return { status: 204 };
    },

    async pauseSchedule(request) {
      return { status: 200, body: await move(request, 'paused', pausedSchedule) };
    },

    async resumeSchedule(request) {
      const now = Date.now();
      return { status: 200, body: await move(request, 'active', (row) => resumedSchedule(row, now)) };
    },

    async listScheduleRuns(request) {
      const page = pageRequest(request.query, newest, ['time']);
      const rows = await database.read(async (manager) =>
        listRunRows(manager, (await find(manager, request)).id, page),
      );
      return { status: 200, body: toPage(rows, page.limit, newest, toRun, (row) => [row.dueAt.getTime()]) };
    },
  };

  /** The operation of a change, as it is stored, after all that can be refused without writing. */
  async function settleAhead(
    request: ApiRequest<'updateSchedule'>,
    operation: Schemas['ScheduledOperation'],
    now: number,
  ): Promise<ScheduledOperation> {
    const parsed = parseScheduledOperation(operation, now);
    requireProcedure(request.principal, parsed.procedure);
    return database.read(async (manager) => {
      const { tenantId } = await find(manager, request);
      return inOperation(settleTarget(manager, tenantId, parsed));
    });
  }
}

/**
 * Names become ids, so that a schedule goes on to what it was made for. A target that has no boards yet
 * is fine; one whose boards cannot do it at all is refused.
 */
async function settleTarget(
  manager: EntityManager,
  tenantId: string,
  operation: ScheduledOperation,
): Promise<ScheduledOperation> {
  const { procedure, kwargs, target } = operation;
  const resolved = await resolveTargets(manager, { tenantId, target, scopeBoards: null, procedure, kwargs });
  if (resolved.excluded.length > 0) requireTargets(resolved, { procedure });
  if (target.boards)
    return {
      ...operation,
      target: { boards: [...resolved.included, ...resolved.excluded].map(({ uuid }) => uuid) },
    };
  if (target.fleet === undefined) return operation;
  // Ids are ascii: other text cannot be compared with them.
  const [fleet] = (await manager.query(
    `SELECT id FROM fleets WHERE tenant_id = ? AND ${isUuid(target.fleet) ? 'id' : 'name'} = ?`,
    [tenantId, target.fleet],
  )) as { id: string }[];
  if (!fleet) throw new AppError('not-found', 'there is no such fleet');
  return { ...operation, target: { fleet: fleet.id } };
}
