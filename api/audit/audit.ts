/** The audit row of a change made over HTTP: who, what, on which, from where. */
import type { EntityManager } from 'typeorm';
import { type AuditRecord, recordAudit } from '../../common/db/queries/audit.ts';
import type { Principal } from '../auth/principal.ts';
import type { OperationId } from '../http/operation.ts';
import type { RequestContext } from '../http/request-context.ts';

export interface AuditedRequest {
  operationId: OperationId;
  principal: Principal;
  context: RequestContext;
}

export type AuditTarget = Pick<AuditRecord, 'tenantId' | 'targetKind' | 'target' | 'detail'>;

/** Writes it with the change, in the same transaction. */
export async function auditChange(
  manager: EntityManager,
  request: AuditedRequest,
  target: AuditTarget,
): Promise<void> {
  await recordAudit(manager, { ...actorOf(request), action: request.operationId, result: 'ok', ...target });
}

export function actorOf({
  principal,
  context,
}: Pick<AuditedRequest, 'principal' | 'context'>): Pick<
  AuditRecord,
  'actorKind' | 'actor' | 'remoteAddress'
> {
  return {
    actorKind: principal.kind,
    actor: principal.kind === 'key' ? principal.id : principal.name,
    remoteAddress: context.remoteAddress,
  };
}

/** How a principal is written into `created_by` columns. */
export function creatorOf(principal: Principal): string {
  return `${principal.kind}:${principal.id}`;
}
