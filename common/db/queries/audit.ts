import type { EntityManager } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';

export interface AuditRecord {
  /** When it happened; left out, now. */
  at?: Date;
  tenantId?: string | null;
  actorKind: 'user' | 'key' | 'board' | 'enrolee' | 'process' | 'anonymous';
  /** User name, key id, board uuid or process name. Never a secret. */
  actor: string;
  /** operationId of the HTTP contract, or `wamp-join`, `wamp-authorize`, `enrol`, … */
  action: string;
  targetKind?: string;
  target?: string;
  remoteAddress?: string | undefined;
  /** `ok`, or the error code of the refusal. */
  result: string;
  detail?: JsonObject;
}

/** The database takes no JSON with lone surrogates, and what was refused may be quoted with some. */
function wellFormed(_name: string, value: unknown): unknown {
  return typeof value === 'string' ? value.toWellFormed() : value;
}

/** Writes audit rows; inside the transaction of the change that they record. */
export async function recordAudit(manager: EntityManager, ...records: readonly AuditRecord[]): Promise<void> {
  if (records.length === 0) return;
  const now = new Date();
  const rows = records.map((each) => [
    each.at ?? now,
    each.tenantId ?? null,
    each.actorKind,
    each.actor.slice(0, 150),
    each.action,
    each.targetKind ?? null,
    each.target?.slice(0, 150) ?? null,
    each.remoteAddress?.slice(0, 100) ?? null,
    each.result,
    each.detail ? JSON.stringify(each.detail, wellFormed) : null,
  ]);
  await manager.query(
    `INSERT INTO audit_events (at, tenant_id, actor_kind, actor, action, target_kind, target, remote_address, result, detail) VALUES ?`,
    [rows],
  );
}
