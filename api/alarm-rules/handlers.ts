/** Rules that raise alarms. The conductor evaluates them. */
import type { EntityManager } from 'typeorm';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import { beginRuleChange, endRuleChange } from '../../common/db/queries/alarm-rules.ts';
import { tenantForCreation, visibleTenants } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import type { Principal } from '../auth/principal.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import type { ApiRequest, HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import { getNamedAccess } from '../named-access.ts';
import { requireProcedure } from '../operations/require-procedure.ts';
import { holdFleet } from '../schedules/schedule-rows.ts';
import { changesWatch, parseRule, type RuleValues, toAlarmRule, toInput } from './rule-request.ts';
import { insertRule, listRuleRows, readRuleRow, requireRoom, updateRuleRow } from './rule-rows.ts';
import { settleRule } from './settle-rule.ts';

type OneRule = 'getAlarmRule' | 'updateAlarmRule' | 'deleteAlarmRule';
type RuleOperations = 'listAlarmRules' | 'createAlarmRule' | OneRule;

const byName = 'name';

export function createAlarmRuleHandlers({ database }: ApiDeps): HandlersOf<RuleOperations> {
  const find = (manager: EntityManager, request: ApiRequest<OneRule>) =>
    getNamedAccess(manager, request, 'alarm_rules', request.path.rule, request.query.tenant);

  return {
    async listAlarmRules(request) {
      const page = pageRequest(request.query, byName, ['text', 'uuid']);
      const rows = await database.read(async (manager) =>
        listRuleRows(manager, await visibleTenants(manager, request, request.query.tenant), page),
      );
      return {
        status: 200,
        body: toPage(rows, page.limit, byName, toAlarmRule, (row) => [row.name, row.id]),
      };
    },

    async createAlarmRule(request) {
      const { tenant, ...body } = request.body;
      const parsed = parseRule(body);
      requireAction(request.principal, parsed);
      const { tenantId, values } = await database.read(async (manager) => {
        const id = await tenantForCreation(manager, request, tenant);
        return { tenantId: id, values: await settleRule(manager, id, parsed) };
      });
      return createOnce(database, request, async (manager) => {
        await beginRuleChange(manager, tenantId);
        await requireRoom(manager, tenantId);
        await holdItsFleet(manager, tenantId, values);
        const id = await insertRule(manager, tenantId, values, creatorOf(request.principal));
        await endRuleChange(manager, tenantId);
        await auditChange(manager, request, {
          tenantId,
          targetKind: 'alarm-rule',
          target: id,
          detail: { name: values.name, condition: values.condition.kind, ...actionDetail(values) },
        });
        const rule = toAlarmRule(await readRuleRow(manager, id));
        return {
          status: 201,
          headers: { Location: `/v1/alarm-rules/${id}`, ...versionTag(rule.version) },
          body: rule,
        };
      });
    },

    async getAlarmRule(request) {
      const row = await database.read(async (manager) =>
        readRuleRow(manager, (await find(manager, request)).id),
      );
      return { status: 200, headers: versionTag(row.version), body: toAlarmRule(row) };
    },

    async updateAlarmRule(request) {
      const { version: _version, ...fields } = request.body;
      const expected = expectedVersion(request);
      const { access, row, values } = await database.read(async (manager) => {
        const found = await find(manager, request);
        const before = await readRuleRow(manager, found.id);
        requireAction(request.principal, before);
        const after = parseRule({ ...toInput(before), ...fields });
        requireAction(request.principal, after);
        return { access: found, row: before, values: await settleRule(manager, found.tenantId, after) };
      });
      const rule = await database.transaction(async (manager) => {
        await beginRuleChange(manager, access.tenantId);
        const current = await readRuleRow(manager, access.id, { lock: true });
        requireVersion(expected, current.version);
        // What was laid over another version than this would undo that one's change.
        requireVersion(row.version, current.version);
        await holdItsFleet(manager, access.tenantId, values);
        const revision = current.revision + (changesWatch(current, values) ? 1 : 0);
        const author = creatorOf(request.principal);
        await updateRuleRow(manager, access.id, values, { revision, author });
        await endRuleChange(manager, access.tenantId);
        await auditRule(manager, request, current, {
          fields: Object.keys(fields),
          ...(fields.enabled !== undefined && { enabled: fields.enabled }),
          ...(fields.action !== undefined && actionDetail(values)),
        });
        return toAlarmRule(await readRuleRow(manager, access.id));
      });
      return { status: 200, headers: versionTag(rule.version), body: rule };
    },

    async deleteAlarmRule(request) {
      const access = await database.read((manager) => find(manager, request));
      await database.transaction(async (manager) => {
        await beginRuleChange(manager, access.tenantId);
        const row = await readRuleRow(manager, access.id, { lock: true });
        requireAction(request.principal, row);
        await manager.query('DELETE FROM alarm_rules WHERE id = ?', [row.id]);
        await endRuleChange(manager, access.tenantId);
        await auditRule(manager, request, row, {});
      });
      return { status: 204 };
    },
  };
}

/** The same rights as for making the operation by hand. Throws AppError `forbidden`. */
function requireAction(principal: Principal, { action }: Pick<RuleValues, 'action'>): void {
  if (action) requireProcedure(principal, action.procedure);
}

async function holdItsFleet(
  manager: EntityManager,
  tenantId: string,
  { target }: Pick<RuleValues, 'target'>,
): Promise<void> {
  if (target.fleet !== undefined) await holdFleet(manager, tenantId, target.fleet);
}

function actionDetail({ action }: Pick<RuleValues, 'action'>): Record<string, unknown> {
  return { procedure: action?.procedure ?? null };
}

function auditRule(
  manager: EntityManager,
  request: ApiRequest<'updateAlarmRule' | 'deleteAlarmRule'>,
  { id, tenantId, name }: AlarmRuleRow,
  detail: Record<string, unknown>,
): Promise<void> {
  return auditChange(manager, request, {
    tenantId,
    targetKind: 'alarm-rule',
    target: id,
    detail: { name, ...detail },
  });
}
