/** Which boards a fleet has: those that its selector matches now, or those that were named. */
import {
  labelCondition,
  parseLabelSelector,
  type SelectorPlace,
  type SqlCondition,
} from './label-selector.ts';

const stored: SelectorPlace = { name: 'selector', pointer: '/selector' };

/** A condition on `boards b`; the tenant is the caller's to ask for. */
export function fleetCondition(fleet: { id: string; selector: string | null }): SqlCondition {
  if (fleet.selector === null)
    return {
      sql: 'EXISTS (SELECT 1 FROM fleet_boards f WHERE f.fleet_id = ? AND f.board_uuid = b.uuid)',
      values: [fleet.id],
    };
  const conditions = parseLabelSelector(fleet.selector, stored).map((each) => labelCondition(each, 'b.uuid'));
  return {
    sql: `(${conditions.map((each) => each.sql).join(' AND ')})`,
    values: conditions.flatMap((each) => each.values),
  };
}
