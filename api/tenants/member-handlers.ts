/** Who has which role in a tenant. */
import { AppError } from '../../common/runtime/app-error.ts';
import { getTenantAccess } from '../access.ts';
import { auditChange } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { getUser } from '../users/user-queries.ts';
import { listMembers, removeMemberRow, setMemberRow, toMember } from './tenant-queries.ts';

type MemberOperations = 'listMembers' | 'setMember' | 'removeMember';

const order = 'username';

export function createMemberHandlers({ database }: ApiDeps): HandlersOf<MemberOperations> {
  return {
    async listMembers(request) {
      const page = pageRequest(request.query, order, ['text']);
      const rows = await database.read(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        return listMembers(manager, tenant.id, page);
      });
      return { status: 200, body: toPage(rows, page.limit, order, toMember, (row) => [row.username]) };
    },

    async setMember(request) {
      const { role } = request.body;
      const member = await database.transaction(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        const user = await getUser(manager, request.path.user);
        const row = await setMemberRow(manager, tenant.id, user.id, role);
        await auditChange(manager, request, {
          tenantId: tenant.id,
          targetKind: 'user',
          target: user.username,
          detail: { role },
        });
        return row;
      });
      return { status: 200, body: toMember(member) };
    },

    async removeMember(request) {
      await database.transaction(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        const user = await getUser(manager, request.path.user);
        if (!(await removeMemberRow(manager, tenant.id, user.id)))
          throw new AppError('not-found', 'there is no such user');
        await auditChange(manager, request, {
          tenantId: tenant.id,
          targetKind: 'user',
          target: user.username,
        });
      });
      return { status: 204 };
    },
  };
}
