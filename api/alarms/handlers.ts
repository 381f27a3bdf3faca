/** What rules raised, and who knows of it. */
import type { EntityManager } from 'typeorm';
import { type AlarmRow, alarmEvent } from '../../common/db/queries/alarms.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { getBoardAccess, visibleTenants } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import type { ApiRequest, HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { allowsInTenant, roleIn } from '../http/permissions.ts';
import { findAlarmRow, listAlarmRows, lockAlarm, markAcknowledged, toAlarm } from './alarm-queries.ts';

type AlarmOperations = 'listAlarms' | 'getAlarm' | 'acknowledgeAlarm';

const newest = 'newest';

export function createAlarmHandlers({ database }: ApiDeps): HandlersOf<AlarmOperations> {
  return {
    async listAlarms(request) {
      const page = pageRequest(request.query, newest, ['uuid']);
      const { tenant, state, severity, board, rule } = request.query;
      const rows = await database.read(async (manager) => {
        const filter = {
          tenants: await visibleTenants(manager, request, tenant),
          scopeBoards: request.principal.scope.boards,
          states: state,
          severities: severity,
          board: board === undefined ? undefined : await findBoard(manager, request, board),
          rule: rule?.toLowerCase(),
        };
        return listAlarmRows(manager, filter, page);
      });
      return { status: 200, body: toPage(rows, page.limit, newest, toAlarm, ({ id }) => [id]) };
    },

    async getAlarm(request) {
      return {
        status: 200,
        body: toAlarm(await database.read((manager) => getAlarmAccess(manager, request))),
      };
    },

    async acknowledgeAlarm(request) {
      const comment = request.body?.comment ?? null;
      const alarm = await database.transaction(async (manager) => {
        await lockAlarm(manager, request.path.alarm.toLowerCase());
        const row = await getAlarmAccess(manager, request);
        if (row.state !== 'raised') throw new AppError('conflict', `the alarm is ${row.state}`);
        await markAcknowledged(manager, row.id, creatorOf(request.principal), comment);
        await auditChange(manager, request, {
          tenantId: row.tenantId,
          targetKind: 'alarm',
          target: row.id,
          detail: { rule: row.ruleName, board: row.boardUuid, ...(comment !== null && { comment }) },
        });
        const after = await getAlarmAccess(manager, request);
        const change = { state: 'acknowledged', change: 'acknowledged', value: row.value } as const;
        await appendEvents(manager, [alarmEvent(after, change)]);
        return toAlarm(after);
      });
      return { status: 200, body: alarm };
    },
  };
}

/** The alarm of the path, if the caller may know it. Throws AppError `not-found` or `forbidden`. */
async function getAlarmAccess(
  manager: EntityManager,
  { operationId, principal, path }: ApiRequest<'getAlarm' | 'acknowledgeAlarm'>,
): Promise<AlarmRow> {
  const row = await findAlarmRow(manager, path.alarm.toLowerCase());
  const { boards } = principal.scope;
  if (!row || roleIn(principal, row.tenantId) === undefined || boards?.has(row.boardUuid) === false)
    throw new AppError('not-found', 'there is no such alarm');
  if (!allowsInTenant(operationId, principal, row.tenantId))
    throw new AppError('forbidden', `your role in the alarm's tenant does not allow ${operationId}`);
  return row;
}

/** uuid of a board in the filter. */
async function findBoard(
  manager: EntityManager,
  { operationId, principal, query }: ApiRequest<'listAlarms'>,
  board: string,
): Promise<string> {
  const inTenant = query.tenant === undefined ? {} : { tenant: query.tenant };
  return (await getBoardAccess(manager, { operationId, principal, path: { board }, query: inTenant })).uuid;
}
