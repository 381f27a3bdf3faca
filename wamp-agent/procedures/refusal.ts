/** The audit row of a refused call of a procedure. */
import type { AuditRecord } from '../../common/db/queries/audit.ts';
import type { AppError } from '../../common/runtime/app-error.ts';
import type { AgentProcedures } from '../../common/wamp/agent-procedures.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import { agentUris } from '../../common/wamp/uris.ts';

export function procedureRefusal(
  procedure: keyof AgentProcedures,
  caller: Caller | undefined,
  remoteAddress: string | undefined,
  error: AppError,
): AuditRecord {
  return {
    actorKind: caller?.role === 'board' ? 'board' : 'enrolee',
    actor: caller?.authid ?? 'unknown',
    action: procedure === 'enrol' ? 'enrol' : 'wamp-call',
    targetKind: 'uri',
    target: agentUris[procedure],
    remoteAddress,
    result: error.code,
    detail: { reason: error.message.slice(0, 500) },
  };
}
