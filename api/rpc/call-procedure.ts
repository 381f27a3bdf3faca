/**
 * `POST /v1/boards/{board}/rpc/{procedure}`: the API's part of a call. It answers within the
 * caller's `timeoutMs`, counted from the arrival of the request, whatever the parts behind it do.
 */
import type { Database } from '../../common/db/database.ts';
import type { AuditRecord } from '../../common/db/queries/audit.ts';
import type { RelayCall, RelayResult } from '../../common/relay/messages.ts';
import type { RelayClient } from '../../common/relay/relay-client.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isReservedProcedure } from '../../common/wamp/uris.ts';
import { type BoardAccess, getBoardAccess } from '../access.ts';
import { scopeAllowsProcedure } from '../auth/principal.ts';
import type { ApiMetrics } from '../http/metrics.ts';
import { type ApiRequest, type HandlersOf, streamed } from '../http/operation.ts';
import { allowsInTenant } from '../http/permissions.ts';
import { asAppError } from '../http/problem.ts';
import type { ShortMemory } from '../http/short-memory.ts';
import type { AuditBatch } from './audit-batch.ts';
import { createProgressAnswer, wantsProgress } from './progress-answer.ts';

export interface RpcParts {
  database: Database;
  memory: ShortMemory;
  relay: RelayClient;
  audit: AuditBatch;
  metrics: Pick<ApiMetrics, 'rpcSeconds'>;
}

type Request = ApiRequest<'callProcedure'>;

const defaultTimeoutMs = 30_000;

export function createRpcHandlers(parts: RpcParts): HandlersOf<'callProcedure'> {
  return {
    async callProcedure(request) {
      const timeoutMs = request.body?.timeoutMs ?? defaultTimeoutMs;
      const endsAt = request.context.startedAt + timeoutMs;
      const target = await withinDeadline(findTarget(parts, request), endsAt, timeoutMs);
      const { response } = request.http;
      const gone = new AbortController();
      const leave = () => gone.abort();
      response.once('close', leave);
      // It may have left while its board was looked for.
      if (response.destroyed) leave();
      try {
        const run = { request, target, endsAt, signal: gone.signal };
        if (!wantsProgress(request.http.request)) return { status: 200, body: await callBoard(parts, run) };
        const answer = createProgressAnswer(response, request.context.requestId);
        await answer.run((onProgress) => callBoard(parts, { ...run, onProgress }));
        return streamed;
      } finally {
        response.off('close', leave);
      }
    },
  };
}

interface Run {
  request: Request;
  target: BoardAccess;
  endsAt: number;
  /** The client went away. */
  signal: AbortSignal;
  onProgress?: (value: unknown) => Promise<void>;
}

async function callBoard({ relay, audit, metrics }: RpcParts, run: Run): Promise<RelayResult> {
  const { request, target, signal, onProgress } = run;
  let outcome = 'ok';
  try {
    const { session } = target;
    if (session === null) throw new AppError('board-offline', 'the board is not connected');
    const call = toRelayCall(run, session.id);
    return await relay.call(session.cell, call, { signal, ...(onProgress && { onProgress }) });
  } catch (error) {
    const failure = describeFailure(asAppError(error), target);
    outcome = signal.aborted ? 'caller-gone' : failure.code;
    throw failure;
  } finally {
    audit.add(toAuditRecord(request, target, outcome));
    metrics.rpcSeconds.observe({ outcome }, (performance.now() - request.context.startedAt) / 1000);
  }
}

/** The board of the call, after all that can be refused without asking it. */
async function findTarget({ database, memory }: RpcParts, request: Request): Promise<BoardAccess> {
  const { principal, path, query } = request;
  const target = await memory.recall(
    // References may hold any character.
    JSON.stringify(['board', principal.kind, principal.id, path.board, query.tenant]),
    () => database.read((manager) => getBoardAccess(manager, request)),
    // One that is offline may be back any moment; one that has left since is refused by its relay.
    ({ session }) => session !== null,
  );
  if (!allowsInTenant(request.operationId, principal, target.tenantId))
    throw new AppError('forbidden', "your role in the board's tenant does not allow calls");
  if (isReservedProcedure(path.procedure))
    throw new AppError('forbidden', "procedures of 'operation' are called by operations only");
  if (!scopeAllowsProcedure(principal.scope, path.procedure))
    throw new AppError('forbidden', `the key's scope does not include the procedure '${path.procedure}'`);
  return target;
}

function toRelayCall({ request, target, endsAt, onProgress }: Run, sessionId: string): RelayCall {
  const { body, path, principal, context } = request;
  return {
    boardUuid: target.uuid,
    sessionId,
    procedure: path.procedure,
    ...(body?.args && { args: body.args }),
    ...(body?.kwargs && { kwargs: body.kwargs }),
    timeoutMs: Math.max(1, Math.floor(endsAt - performance.now())),
    contractsHash: target.contractsHash,
    requestId: context.traceparent,
    caller: { kind: principal.kind === 'key' ? 'key' : 'user', id: principal.id },
    ...(onProgress && { progress: true }),
  };
}

/** Adds what the API knows: a board may also turn out to be offline at the relay. */
function describeFailure(error: AppError, target: BoardAccess): AppError {
  if (error.code !== 'board-offline') return error;
  return new AppError('board-offline', error.message, {
    cause: error,
    details: {
      ...error.details,
      boardStatus: target.status,
      lastSeenAt: target.lastSeenAt?.toISOString() ?? null,
    },
  });
}

function toAuditRecord(
  { principal, path, context }: Request,
  target: BoardAccess,
  result: string,
): AuditRecord {
  return {
    tenantId: target.tenantId,
    actorKind: principal.kind,
    actor: principal.kind === 'key' ? principal.id : principal.name,
    action: 'callProcedure',
    targetKind: 'board',
    target: target.uuid,
    remoteAddress: context.remoteAddress,
    result,
    detail: { procedure: path.procedure, requestId: context.requestId },
  };
}

/** For the steps before the call: a database that hangs must not hold the caller beyond its deadline. */
async function withinDeadline<T>(work: Promise<T>, endsAt: number, timeoutMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new AppError('deadline-exceeded', `no answer within ${timeoutMs} ms`)),
    Math.max(0, endsAt - performance.now()),
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
