/** What a tenant may use, and what it uses. */
import { readQuotas, writeQuotaLimits } from '../../common/db/queries/quotas.ts';
import { getTenantAccess } from '../access.ts';
import { auditChange } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf } from '../http/operation.ts';

export function createQuotaHandlers({ database, config }: ApiDeps): HandlersOf<'getQuotas' | 'setQuotas'> {
  return {
    async getQuotas(request) {
      const body = await database.read(async (manager) => {
        const { id } = await getTenantAccess(manager, request, request.path.tenant);
        return readQuotas(manager, id, config.quotas);
      });
      return { status: 200, body };
    },

    async setQuotas(request) {
      const limits = request.body;
      const body = await database.transaction(async (manager) => {
        const { id } = await getTenantAccess(manager, request, request.path.tenant);
        await writeQuotaLimits(manager, id, limits);
        await auditChange(manager, request, {
          tenantId: id,
          targetKind: 'tenant',
          target: id,
          detail: { limits },
        });
        return readQuotas(manager, id, config.quotas);
      });
      return { status: 200, body };
    },
  };
}
