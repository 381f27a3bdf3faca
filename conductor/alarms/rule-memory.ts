/** The enabled rules of tenants, as of the version that each evaluation reads. */
import type { EntityManager } from 'typeorm';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import { findEnabledRules } from '../../common/db/queries/alarm-rules.ts';

export interface RuleMemory {
  read(manager: EntityManager, tenantId: string, version: number): Promise<readonly AlarmRuleRow[]>;
}

const mostTenants = 2000;

export function createRuleMemory(): RuleMemory {
  const known = new Map<string, { version: number; rules: readonly AlarmRuleRow[] }>();
  return {
    async read(manager, tenantId, version) {
      const found = known.get(tenantId);
      if (found?.version === version) return found.rules;
      const rules = await findEnabledRules(manager, tenantId);
      if (known.size >= mostTenants) known.clear();
      known.set(tenantId, { version, rules });
      return rules;
    },
  };
}
