/**
 * Which boards a rule watches, of those that have news. Labels and fleets change without the rules: what
 * was found is remembered for ten seconds at most, rules with the same target share it.
 */
import type { EntityManager } from 'typeorm';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import { targetCondition } from '../../common/db/queries/alarm-targets.ts';

export interface Members {
  /** uuids of those of the boards that each rule watches, by rule id. */
  find(
    manager: EntityManager,
    rules: readonly AlarmRuleRow[],
    boardUuids: readonly string[],
  ): Promise<Map<string, ReadonlySet<string>>>;
}

const keptMs = 10_000;
/** Beyond, all is forgotten: that costs statements, no more. */
const most = 200_000;

export function createMembers(clock: () => number = () => performance.now()): Members {
  /** Whether a board is one, by target and board. A target may name many boards: it is kept once. */
  const known = new Map<string, Map<string, boolean>>();
  let count = 0;
  let forgetAt = Number.NEGATIVE_INFINITY;

  function knownOf({ tenantId, target }: AlarmRuleRow): Map<string, boolean> {
    const key = `${tenantId} ${JSON.stringify(target)}`;
    const found = known.get(key) ?? new Map<string, boolean>();
    known.set(key, found);
    return found;
  }

  function forgetOld(): void {
    if (clock() < forgetAt && count < most) return;
    known.clear();
    count = 0;
    forgetAt = clock() + keptMs;
  }

  async function membersOf(manager: EntityManager, rule: AlarmRuleRow, boards: readonly string[]) {
    const ofTarget = knownOf(rule);
    const unknown = boards.filter((board) => !ofTarget.has(board));
    if (unknown.length > 0) {
      const found = await askMembers(manager, rule, unknown);
      for (const board of unknown) ofTarget.set(board, found.has(board));
      count += unknown.length;
    }
    return new Set(boards.filter((board) => ofTarget.get(board)));
  }

  return {
    async find(manager, rules, boardUuids) {
      forgetOld();
      const members = new Map<string, ReadonlySet<string>>();
      if (boardUuids.length === 0) return members;
      for (const rule of rules) members.set(rule.id, await membersOf(manager, rule, boardUuids));
      return members;
    },
  };
}

async function askMembers(
  manager: EntityManager,
  { tenantId, target }: AlarmRuleRow,
  boards: readonly string[],
): Promise<ReadonlySet<string>> {
  const { sql, values } = await targetCondition(manager, tenantId, target);
  const rows = (await manager.query(
    `SELECT b.uuid FROM boards b WHERE b.tenant_id = ? AND b.uuid IN (?) AND ${sql}`,
    [tenantId, boards, ...values],
  )) as { uuid: string }[];
  return new Set(rows.map(({ uuid }) => uuid));
}
