/**
 * `boardwalk.auth.authenticate`: says to the router who a joining session is, or why not. For
 * boards this runs before the signature is checked, so nothing may change here: a key becomes
 * active in hello, by a session that has joined with it.
 */
import type { Database } from '../../common/db/database.ts';
import type { AuditRecord } from '../../common/db/queries/audit.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { hashEnrolmentCode } from '../../common/runtime/enrolment-code.ts';
import { isUuid } from '../../common/runtime/guards.ts';
import { hashToken, secretsEqual } from '../../common/runtime/secrets.ts';
import type { InvocationHandler } from '../../common/wamp/typed-session.ts';
import { enroleeAuthid, type WampRole } from '../../common/wamp/uris.ts';
import type { Metrics } from '../metrics.ts';
import type { AttemptLimit } from './attempt-limit.ts';
import type { JoinGate } from './join-gate.ts';
import type { JoinMemory } from './joins.ts';
import { peerAddress } from './peer-address.ts';
import { findBoardPrincipal, findCodePrincipal, findKeyPrincipal } from './principals.ts';
import type { Refusals } from './refusals.ts';

export interface AuthenticatorOptions {
  database: Database;
  realm: string;
  gate: JoinGate;
  joins: JoinMemory;
  /** Wrong enrolment codes by address. */
  codeAttempts: AttemptLimit;
  refusals: Refusals;
  metrics: Metrics;
  trustedProxies: readonly string[];
}

/** What the router takes as an answer. */
interface Principal {
  realm: string;
  authid: string;
  role: WampRole;
  /** Only for cryptosign: the key that the signature is checked with. */
  pubkey?: string;
  /** Handed to the client in WELCOME, and to whoever asks the router about the session. */
  extra: { credential?: string };
}

interface Join {
  authid: string;
  wampSession: number;
  address: string | undefined;
  pubkey: unknown;
  ticket: unknown;
}

/** authid of a session that may enrol: which code it came with cannot be changed any more. */
export function enroleeAuthidOf(codeHash: string): string {
  return `${enroleeAuthid}:${codeHash.slice(0, 32)}`;
}

export function createAuthenticator(options: AuthenticatorOptions): InvocationHandler {
  const { database, realm } = options;

  async function board(join: Join): Promise<Principal> {
    const { authid, pubkey } = join;
    if (!isUuid(authid) || typeof pubkey !== 'string' || !/^[0-9a-f]{64}$/.test(pubkey))
      throw new AppError('invalid-credentials', 'a board joins with its uuid and its public key');
    await options.gate.enter(join.wampSession);
    try {
      const found = await database.read((manager) => findBoardPrincipal(manager, authid, pubkey));
      if (!found?.credential) throw new AppError('invalid-credentials', 'this key is not one of this board');
      if (found.status === 'revoked') throw new AppError('board-revoked', 'this board is revoked');
      if (found.credential.state === 'revoked')
        throw new AppError('invalid-credentials', 'this key of the board is revoked');
      options.joins.remember(join.wampSession, {
        credentialId: found.credential.id,
        address: join.address,
      });
      return { realm, authid, role: 'board', pubkey, extra: { credential: found.credential.id } };
    } catch (error) {
      options.gate.leave(join.wampSession);
      throw error;
    }
  }

  async function enrolee(join: Join): Promise<Principal> {
    const from = join.address ?? 'unknown';
    const waitSeconds = options.codeAttempts.retryAfterSeconds(from);
    if (waitSeconds > 0)
      throw new AppError('too-many-requests', `too many wrong codes, try again in ${waitSeconds} s`);
    const codeHash = hashEnrolmentCode(ticketOf(join));
    const code = await database.read((manager) => findCodePrincipal(manager, codeHash));
    try {
      if (!code || code.revoked) throw new AppError('enrolment-code-invalid', 'this code is not valid');
      if (code.expired) throw new AppError('enrolment-code-expired', 'this code has expired');
      if (code.boardStatus === 'revoked') throw new AppError('board-revoked', 'this board is revoked');
    } catch (error) {
      options.codeAttempts.count(from);
      throw error;
    }
    options.joins.remember(join.wampSession, { credentialId: undefined, address: join.address });
    return { realm, authid: enroleeAuthidOf(codeHash), role: 'enrolee', extra: {} };
  }

  async function service(join: Join): Promise<Principal> {
    const keyId = uuidOf(join.authid);
    const ticket = ticketOf(join);
    const key = keyId && (await database.read((manager) => findKeyPrincipal(manager, keyId)));
    if (!key || !secretsEqual(hashToken(ticket), key.secretHash))
      throw new AppError('invalid-credentials', 'this key is not valid');
    if (key.revoked) throw new AppError('invalid-credentials', 'this key is revoked');
    if (key.expired) throw new AppError('invalid-credentials', 'this key has expired');
    return { realm, authid: key.id, role: 'service', extra: {} };
  }

  function authenticate(method: unknown, join: Join): Promise<Principal> {
    if (method === 'cryptosign') return board(join);
    if (method !== 'ticket') throw new AppError('unauthenticated', 'anonymous sessions are not let in');
    return join.authid === enroleeAuthid ? enrolee(join) : service(join);
  }

  return async ({ args, caller }) => {
    if (caller && caller.role !== 'trusted')
      throw new AppError('not-authorized', 'only the router asks for authentication');
    const details = (args[2] ?? {}) as Record<string, unknown>;
    const authextra = (details.authextra ?? {}) as Record<string, unknown>;
    const join: Join = {
      authid: typeof args[1] === 'string' ? args[1] : '',
      wampSession: Number(details.session),
      address: peerAddress(details.transport, options.trustedProxies),
      pubkey: authextra.pubkey,
      ticket: details.ticket,
    };
    try {
      const principal = await authenticate(details.authmethod, join);
      options.metrics.joins.inc({ role: principal.role });
      return principal;
    } catch (error) {
      if (error instanceof AppError && error.code !== 'unavailable')
        options.refusals.record(refusalOf(details.authmethod, join, error));
      throw error;
    }
  };
}

function ticketOf(join: Join): string {
  if (typeof join.ticket !== 'string' || join.ticket === '' || join.ticket.length > 200)
    throw new AppError('invalid-credentials', 'the ticket is missing');
  return join.ticket;
}

/** A key's id with or without its dashes. */
function uuidOf(authid: string): string | undefined {
  const plain = authid.toLowerCase().replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/.test(plain)) return undefined;
  return plain.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function refusalOf(method: unknown, join: Join, error: AppError): AuditRecord {
  const claimed = join.authid === '' ? 'anonymous' : join.authid;
  return {
    actorKind: join.authid === enroleeAuthid ? 'enrolee' : 'anonymous',
    actor: claimed.replaceAll(/\p{Cc}/gu, '?'),
    action: 'wamp-join',
    remoteAddress: join.address,
    result: error.code,
    detail: { method: String(method).slice(0, 30), reason: error.message },
  };
}
