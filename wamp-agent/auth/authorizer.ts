/**
 * `boardwalk.auth.authorize`: may this session do this? Denied unless a rule below allows it.
 *
 * | role    | may |
 * |---------|-----|
 * | board   | register its own prefix; call what the wamp-agent offers to boards, except enrol |
 * | service | call a board's procedures and subscribe to tenant topics, within its key's tenant and scope |
 *
 * The router remembers an answer with `cache` for the whole *role*: only what is true for every
 * member of the role may say so, and only for a fixed set of URIs, because it never forgets one.
 */

import { AppError } from '../../common/runtime/app-error.ts';
import { matchesProcedure } from '../../common/wamp/procedure-scope.ts';
import type { Caller, InvocationHandler } from '../../common/wamp/typed-session.ts';
import {
  agentUris,
  boardPrefix,
  isReservedProcedure,
  parseBoardUri,
  parseTenantTopic,
} from '../../common/wamp/uris.ts';
import type { BoardDirectory } from '../boards/directory.ts';
import type { Metrics } from '../metrics.ts';
import type { KeyCache } from './key-cache.ts';
import { peerAddress } from './peer-address.ts';
import type { KeyPrincipal } from './principals.ts';
import type { Refusals } from './refusals.ts';

export interface AuthorizerOptions {
  directory: BoardDirectory;
  keys: KeyCache;
  refusals: Refusals;
  metrics: Metrics;
  trustedProxies: readonly string[];
}

interface Question {
  authid: string;
  role: string;
  uri: string;
  action: string;
  match: string;
  invoke: string;
  isForwarded: boolean;
}

export interface Answer {
  allow: boolean;
  /** The callee learns who calls. */
  disclose: boolean;
  cache: boolean;
}

const denied: Answer = { allow: false, disclose: false, cache: false };
const allowed: Answer = { allow: true, disclose: true, cache: false };
const allowedToRole: Answer = { ...allowed, cache: true };

const boardProcedures: readonly string[] = [
  agentUris.hello,
  agentUris.heartbeat,
  agentUris.appendReadings,
  agentUris.operationResult,
  agentUris.operationProgress,
  agentUris.putArtifact,
  agentUris.reportModules,
];

export function createAuthorizer(options: AuthorizerOptions): InvocationHandler {
  const { directory, keys } = options;

  async function decide(question: Question): Promise<Answer> {
    // A forwarded call shows its callee whoever it names as its origin.
    if (question.isForwarded) return denied;
    if (question.role === 'board') return decideBoard(question);
    if (question.role !== 'service') return denied;
    const key = await keys.findUsable(question.authid);
    if (!key) return denied;
    if (question.action === 'call') return mayCall(key, question.uri);
    if (question.action === 'subscribe') return mayListen(key, question);
    return denied;
  }

  async function mayCall(key: KeyPrincipal, uri: string): Promise<Answer> {
    const target = parseBoardUri(uri);
    if (!target || target.procedure === '' || isReservedProcedure(target.procedure)) return denied;
    if (key.role === 'user_iot' || !inScope(key.boards, target.boardUuid)) return denied;
    if (!matchesProcedure(key.procedures, target.procedure)) return denied;
    const board = await directory.find(target.boardUuid);
    return board?.tenantId === key.tenantId && board.status !== 'revoked' ? allowed : denied;
  }

  async function mayListen(key: KeyPrincipal, { uri, match }: Question): Promise<Answer> {
    if (match !== 'exact' && match !== 'prefix') return denied;
    const topic = parseTenantTopic(uri);
    if (topic?.tenantId !== key.tenantId) return denied;
    if (key.boards === null) return allowed;
    return topic.boardUuid !== undefined && key.boards.includes(topic.boardUuid) ? allowed : denied;
  }

  return async ({ args, caller }) => {
    if (caller && caller.role !== 'trusted')
      throw new AppError('not-authorized', 'only the router asks for authorization');
    const question = parseQuestion(args);
    const answer = await decide(question);
    options.metrics.authorizations.inc({ allow: String(answer.allow) });
    if (!answer.allow) options.refusals.record(refusalOf(question, args[0], options.trustedProxies));
    return answer;
  };
}

function decideBoard({ authid, action, uri, match, invoke }: Question): Answer {
  if (action === 'call') return boardProcedures.includes(uri) ? allowedToRole : denied;
  const own = action === 'register' && uri === boardPrefix(authid) && match === 'prefix';
  return own && invoke === 'single' ? allowed : denied;
}

function inScope(boards: readonly string[] | null, boardUuid: string): boolean {
  return boards === null || boards.includes(boardUuid);
}

function parseQuestion(args: unknown[]): Question {
  const [session, uri, action, options] = args as [Record<string, unknown>, unknown, unknown, unknown];
  const { match, invoke, forward_for: origins } = (options ?? {}) as Record<string, unknown>;
  return {
    authid: String(session?.authid ?? ''),
    role: String(session?.authrole ?? ''),
    uri: String(uri),
    action: String(action),
    match: String(match ?? 'exact'),
    invoke: String(invoke ?? 'single'),
    isForwarded: origins !== undefined && origins !== null,
  };
}

function refusalOf(question: Question, session: unknown, trustedProxies: readonly string[]) {
  const { authid, role, uri, action, match } = question;
  return {
    actorKind: role === 'board' ? ('board' as const) : ('key' as const),
    actor: authid satisfies Caller['authid'],
    action: 'wamp-authorize',
    targetKind: 'uri',
    target: uri.replaceAll(/\p{Cc}/gu, '?'),
    remoteAddress: peerAddress((session as { transport?: unknown } | null)?.transport, trustedProxies),
    result: 'not-authorized',
    detail: { action, match },
  };
}
