/** Who is let in at the router and what they may do there, and what is on record of those who may not. */
import type { AppError } from '../../common/runtime/app-error.ts';
import type { AgentProcedures } from '../../common/wamp/agent-procedures.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import type { AgentBase } from '../base.ts';
import type { BoardDirectory } from '../boards/directory.ts';
import { procedureRefusal } from '../procedures/refusal.ts';
import { findSession } from '../router/meta.ts';
import { createAttemptLimit } from './attempt-limit.ts';
import { createAuthenticator } from './authenticator.ts';
import { createAuthorizer } from './authorizer.ts';
import { createJoinGate } from './join-gate.ts';
import { createJoinMemory, type JoinFacts } from './joins.ts';
import { createKeyCache } from './key-cache.ts';
import { peerAddress } from './peer-address.ts';
import { createRefusals } from './refusals.ts';

export type Entrance = ReturnType<typeof createEntrance>;

export function createEntrance(base: AgentBase, directory: BoardDirectory) {
  const { database, metrics, logger, config } = base;
  const { trustedProxies } = config;
  const joins = createJoinMemory();
  const gate = createJoinGate();
  const keys = createKeyCache(database);
  const refusals = createRefusals({ database, metrics, logger });
  const codeAttempts = createAttemptLimit({ attempts: 10, windowMs: 60_000 });
  const { realm } = config.router;
  const toAuthenticate = { database, realm, gate, joins, codeAttempts, refusals, metrics, trustedProxies };

  return {
    joins,
    gate,
    keys,
    authenticate: createAuthenticator(toAuthenticate),
    authorize: createAuthorizer({ directory, keys, refusals, metrics, trustedProxies }),

    /** How a session joined: from memory, or from the router when another agent let it in. */
    async findJoin(wampSession: number): Promise<JoinFacts | undefined> {
      const known = joins.find(wampSession);
      if (known) return known;
      const info = await findSession(base.session(), wampSession);
      const { credential } = info?.authextra ?? {};
      return (
        info && {
          credentialId: typeof credential === 'string' ? credential : undefined,
          address: peerAddress(info.transport, trustedProxies),
        }
      );
    },

    /** A call of one of the agent's procedures was refused. */
    onRefused(procedure: keyof AgentProcedures, caller: Caller | undefined, error: AppError): void {
      if (error.code === 'unavailable') return;
      // A tenant over its quota is no trespasser, and has many boards.
      if (error.details.quota !== undefined) {
        metrics.overQuota.inc({ procedure });
        return;
      }
      const address = joins.find(caller?.wampSession ?? 0)?.address;
      if (procedure === 'enrol') codeAttempts.count(address ?? 'unknown');
      refusals.record(procedureRefusal(procedure, caller, address, error));
    },

    stop: refusals.stop,
  };
}
