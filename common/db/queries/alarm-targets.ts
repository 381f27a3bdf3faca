/** Which boards an alarm rule watches. */
import type { EntityManager } from 'typeorm';
import type { AlarmTarget } from '../../alarms/rules.ts';
import { fleetCondition } from './fleet-boards.ts';
import { labelCondition, parseLabelSelector, type SqlCondition } from './label-selector.ts';

const stored = { name: 'target.selector', pointer: '/target/selector' };

/**
 * A condition on `boards b`; the tenant is the caller's to ask for. A target without members is every
 * board of the tenant; a fleet that is gone has none.
 */
export async function targetCondition(
  manager: EntityManager,
  tenantId: string,
  target: AlarmTarget,
): Promise<SqlCondition> {
  if (target.boards) return { sql: 'b.uuid IN (?)', values: [target.boards] };
  if (target.fleet !== undefined) {
    const [fleet] = (await manager.query('SELECT id, selector FROM fleets WHERE tenant_id = ? AND id = ?', [
      tenantId,
      target.fleet,
    ])) as { id: string; selector: string | null }[];
    return fleet ? fleetCondition(fleet) : { sql: 'FALSE', values: [] };
  }
  if (target.selector === undefined) return { sql: 'TRUE', values: [] };
  const conditions = parseLabelSelector(target.selector, stored).map((each) =>
    labelCondition(each, 'b.uuid'),
  );
  return {
    sql: `(${conditions.map((each) => each.sql).join(' AND ')})`,
    values: conditions.flatMap((each) => each.values),
  };
}
