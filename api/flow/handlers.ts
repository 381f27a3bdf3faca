/** Where messages and readings are: the balance of each hop on their way. */
import { type FlowHop, readFlow } from '../../common/db/queries/flow.ts';
import { getBoardAccess, getTenantAccess } from '../access.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf, Schemas } from '../http/operation.ts';

const units = { gateway: 'messages', spool: 'readings', sinks: 'points' } as const;

export function createFlowHandlers({
  database,
}: Pick<ApiDeps, 'database'>): HandlersOf<'getTenantFlow' | 'getBoardFlow'> {
  return {
    async getTenantFlow(request) {
      const hops = await database.transaction(async (manager) => {
        const { id } = await getTenantAccess(manager, request, request.path.tenant);
        return readFlow(manager, { tenantId: id });
      });
      return { status: 200, body: toFlow(hops) };
    },

    async getBoardFlow(request) {
      const hops = await database.transaction(async (manager) => {
        const { uuid } = await getBoardAccess(manager, request);
        return readFlow(manager, { boardUuid: uuid });
      });
      return { status: 200, body: toFlow(hops) };
    },
  };
}

function toFlow(hops: readonly FlowHop[]): Schemas['Flow'] {
  return {
    at: new Date().toISOString(),
    hops: hops.map(({ reportedAt, ...counts }) => ({
      ...counts,
      unit: units[counts.hop],
      balanced: counts.difference === 0,
      reportedAt: reportedAt?.toISOString() ?? null,
    })),
  };
}
