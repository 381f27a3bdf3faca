import type { EntityManager } from 'typeorm';
import { type AuditedRequest, auditChange } from '../audit/audit.ts';

export function auditWebhook(
  manager: EntityManager,
  request: AuditedRequest,
  webhook: { id: string; tenant: string },
  detail: Record<string, unknown>,
): Promise<void> {
  return auditChange(manager, request, {
    tenantId: webhook.tenant,
    targetKind: 'webhook',
    target: webhook.id,
    detail,
  });
}
