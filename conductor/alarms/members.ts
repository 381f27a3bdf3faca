/**
 * Which boards a rule watches, of those that have news. Labels and fleets change without the rules: what
 * was found is remembered for ten seconds, rules with the same target share it.
 */
import type { EntityManager } from 'typeorm';
import type { AlarmTarget } from '../../common/alarms/rules.ts';
import type { AlarmRuleRow } from '../../common/db/queries/alarm-rules.ts';
import { targetCondition } from '../../common/db/queries/alarm-targets.ts';

export interface Members {
  /** uuids of those of the boards that each rule watches, by rule id. */
  find(
    manager: EntityManager,
    rules: readonly AlarmRuleRow[],
    boardUuids: readonly string[],
  ): Promise<Map<string, ReadonlySet<string>>>;
}

export const membersKeptMs = 10_000;
/** Beyond, all is forgotten: that costs statements, no more. */
const most = 200_000;

export function createMembers(clock: () => number = () => performance.now()): Members {
  const known = new Map<string, { isMember: boolean; until: number }>();

  async function ask(manager: EntityManager, tenantId: string, target: AlarmTarget, boards: string[]) {
    const { sql, values } = await targetCondition(manager, tenantId, target);
    const rows = (await manager.query(
      `SELECT b.uuid FROM boards b WHERE b.tenant_id = ? AND b.uuid IN (?) AND ${sql}`,
      [tenantId, boards, ...values],
    )) as { uuid: string }[];
    return new Set(rows.map(({ uuid }) => uuid));
  }

  async function membersOf(manager: EntityManager, rule: AlarmRuleRow, boards: readonly string[]) {
    const now = clock();
    const key = (board: string) => `${rule.tenantId} ${JSON.stringify(rule.target)} ${board}`;
    const unknown = boards.filter((board) => (known.get(key(board))?.until ?? 0) <= now);
    if (unknown.length > 0) {
      const found = await ask(manager, rule.tenantId, rule.target, unknown);
      if (known.size + unknown.length > most) known.clear();
      const until = now + membersKeptMs;
      for (const board of unknown) known.set(key(board), { isMember: found.has(board), until });
    }
    return new Set(boards.filter((board) => known.get(key(board))?.isMember));
  }

  return {
    async find(manager, rules, boardUuids) {
      const members = new Map<string, ReadonlySet<string>>();
      if (boardUuids.length === 0) return members;
      for (const rule of rules) members.set(rule.id, await membersOf(manager, rule, boardUuids));
      return members;
    },
  };
}
