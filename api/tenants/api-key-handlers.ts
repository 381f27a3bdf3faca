/** Keys for services: shown once, stored hashed, scoped, expiring, revocable. */
import { randomUUID } from 'node:crypto';
import { AppError } from '../../common/runtime/app-error.ts';
import { hashToken, randomToken } from '../../common/runtime/secrets.ts';
import { getTenantAccess } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import { apiKeyPrefix } from '../auth/credentials-queries.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import { refuseDuplicate } from '../http/name-taken.ts';
import type { HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import {
  deleteEndedApiKey,
  getApiKey,
  insertApiKey,
  listApiKeys,
  resolveBoards,
  revokeApiKeyRow,
  toApiKey,
} from './api-key-queries.ts';

type ApiKeyOperations = 'listApiKeys' | 'createApiKey' | 'getApiKey' | 'revokeApiKey';

const order = 'name';

export function createApiKeyHandlers({ database }: ApiDeps): HandlersOf<ApiKeyOperations> {
  return {
    async listApiKeys(request) {
      const page = pageRequest(request.query, order, ['text']);
      const rows = await database.read(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        return listApiKeys(manager, tenant.id, page);
      });
      return { status: 200, body: toPage(rows, page.limit, order, toApiKey, (row) => [row.name]) };
    },

    async createApiKey(request) {
      const { name, role, boards, procedures } = request.body;
      const expiresAt = parseExpiry(request.body.expiresAt);
      return createOnce(database, request, async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        const id = randomUUID();
        const key = `${apiKeyPrefix}${id.replaceAll('-', '')}_${randomToken()}`;
        const row = {
          id,
          tenantId: tenant.id,
          name,
          secretHash: hashToken(key),
          role,
          boards: boards === undefined ? null : await resolveBoards(manager, tenant.id, boards),
          procedures: procedures ?? null,
          createdBy: creatorOf(request.principal),
          expiresAt,
        };
        await deleteEndedApiKey(manager, tenant.id, name);
        await refuseDuplicate('uq_api_keys_name', '/name', () => insertApiKey(manager, row));
        await auditChange(manager, request, {
          tenantId: tenant.id,
          targetKind: 'api-key',
          target: id,
          detail: { name, role },
        });
        const created = toApiKey(await getApiKey(manager, tenant.id, id));
        return {
          status: 201,
          headers: { Location: `/v1/tenants/${tenant.id}/api-keys/${id}` },
          body: { ...created, key },
        };
      });
    },

    async getApiKey(request) {
      const row = await database.read(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        return getApiKey(manager, tenant.id, request.path.apiKey);
      });
      return { status: 200, body: toApiKey(row) };
    },

    async revokeApiKey(request) {
      await database.transaction(async (manager) => {
        const tenant = await getTenantAccess(manager, request, request.path.tenant);
        const { id } = await getApiKey(manager, tenant.id, request.path.apiKey);
        await revokeApiKeyRow(manager, id);
        await auditChange(manager, request, { tenantId: tenant.id, targetKind: 'api-key', target: id });
      });
      return { status: 204 };
    },
  };
}

/** The latest moment that the column can hold. */
const latest = Date.UTC(9999, 0);

function parseExpiry(text: string | undefined): Date | null {
  if (text === undefined) return null;
  const time = new Date(text);
  if (time.getTime() > Date.now() && time.getTime() < latest) return time;
  throw new AppError('invalid-request', 'expiresAt must be in the future', {
    details: { errors: [{ pointer: '/expiresAt', detail: 'must be in the future' }] },
  });
}
