/** What of a rule the database has to say: names become ids, and an action that nobody could do is refused. */
import type { EntityManager } from 'typeorm';
import type { AlarmAction, AlarmTarget } from '../../common/alarms/rules.ts';
import { parseLabelSelector } from '../../common/db/queries/label-selector.ts';
import { resolveTargets } from '../../common/db/queries/operation-targets.ts';
import { requireTargets } from '../../common/db/queries/require-targets.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid } from '../../common/runtime/guards.ts';
import type { RuleValues } from './rule-request.ts';

/** Throws AppError `board-not-found`, `not-found` for the fleet, and what requireTargets throws. */
export async function settleRule(
  manager: EntityManager,
  tenantId: string,
  values: RuleValues,
): Promise<RuleValues> {
  const target = await settleTarget(manager, tenantId, values.target);
  const action = values.action && (await settleAction(manager, tenantId, values.action, target));
  return { ...values, target, action };
}

/** A target that has no boards yet is fine. */
async function settleTarget(
  manager: EntityManager,
  tenantId: string,
  target: AlarmTarget,
): Promise<AlarmTarget> {
  if (target.boards) return { boards: await resolveBoards(manager, tenantId, target.boards) };
  if (target.selector !== undefined) {
    parseLabelSelector(target.selector, { name: 'target.selector', pointer: '/target/selector' });
    return { selector: target.selector };
  }
  if (target.fleet === undefined) return {};
  const fleet = isUuid(target.fleet.toLowerCase()) ? target.fleet.toLowerCase() : target.fleet;
  const [row] = (await manager.query(
    `SELECT id FROM fleets WHERE tenant_id = ? AND ${isUuid(fleet) ? 'id' : 'name'} = ?`,
    [tenantId, fleet],
  )) as { id: string }[];
  if (!row)
    throw new AppError('not-found', 'there is no such fleet', {
      details: { errors: [{ pointer: '/target/fleet', detail: 'there is no such fleet' }] },
    });
  return { fleet: row.id };
}

/** uuids of boards by name or uuid, in their order. */
async function resolveBoards(
  manager: EntityManager,
  tenantId: string,
  references: readonly string[],
): Promise<string[]> {
  const boards = references.map((each) => (isUuid(each.toLowerCase()) ? each.toLowerCase() : each));
  const request = { tenantId, target: { boards }, scopeBoards: null, procedure: '', kwargs: {} };
  const { included, excluded } = await resolveTargets(manager, request);
  return [...included, ...excluded].map(({ uuid }) => uuid);
}

/** Refused when none of the boards that it might go to can do it. */
async function settleAction(
  manager: EntityManager,
  tenantId: string,
  action: AlarmAction,
  watched: AlarmTarget,
): Promise<AlarmAction> {
  const { procedure, kwargs } = action;
  try {
    const board =
      action.board === 'same' ? 'same' : ((await resolveBoards(manager, tenantId, [action.board]))[0] ?? '');
    const target = board === 'same' ? watched : { boards: [board] };
    // All boards of a tenant are too many to ask, and others will come.
    if (Object.keys(target).length === 0) return { ...action, board };
    const resolved = await resolveTargets(manager, {
      tenantId,
      target,
      scopeBoards: null,
      procedure,
      kwargs,
    });
    if (resolved.excluded.length > 0) requireTargets(resolved, { procedure });
    return { ...action, board };
  } catch (error) {
    throw inAction(error);
  }
}

/** Faults of boards stand at the action's board here, those of arguments below the action. */
function inAction(error: unknown): unknown {
  if (!(error instanceof AppError) || !Array.isArray(error.details.errors)) return error;
  const errors = (error.details.errors as { pointer?: string }[]).map((each) => {
    if (each.pointer === undefined) return each;
    return {
      ...each,
      pointer: each.pointer.startsWith('/target') ? '/action/board' : `/action${each.pointer}`,
    };
  });
  return new AppError(error.code, error.message, { cause: error, details: { ...error.details, errors } });
}
