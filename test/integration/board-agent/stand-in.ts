/**
 * Stands in for the wamp-agent at a real router: lets boards and enrolees in by maps that the test
 * fills, answers their calls, keeps readings behind a fence as the database does, and can be told
 * to misbehave.
 */
import { createHash, randomUUID } from 'node:crypto';
import autobahn from 'autobahn';
import { AppError, type ErrorCode } from '../../../common/runtime/app-error.ts';
import type { Logger } from '../../../common/runtime/logger.ts';
import {
  type BoardSettings,
  type EnrolAnswer,
  type HeartbeatRequest,
  type HelloRequest,
  parseEnrolRequest,
  parseHeartbeatRequest,
  parseHelloRequest,
} from '../../../common/wamp/agent-procedures.ts';
import { parseArtifactChunk } from '../../../common/wamp/artifacts.ts';
import { errorUri } from '../../../common/wamp/errors.ts';
import {
  type ModulesAnswer,
  type ModulesRequest,
  parseModulesRequest,
} from '../../../common/wamp/modules.ts';
import {
  type OperationReport,
  type ProgressRequest,
  parseProgressRequest,
  parseResultRequest,
  parseRunAnswer,
  parseStatusAnswer,
  type RunAnswer,
  type RunRequest,
  type StatusAnswer,
} from '../../../common/wamp/operations.ts';
import { parseReadingsBatch, type ReadingValue } from '../../../common/wamp/readings.ts';
import { agentUris, boardPrefix, boardProcedureUri } from '../../../common/wamp/uris.ts';
import type { TestCrossbar } from '../../harness/crossbar.ts';

export interface StoredReading {
  epoch: string;
  seq: number;
  stream: string;
  at: number;
  value: ReadingValue;
}

export interface StandIn {
  /** Mapped by board uuid. */
  publicKeys: Map<string, string>;
  /** Mapped by code. */
  codes: Map<string, { boardUuid: string; usedBy?: string; refuse?: ErrorCode }>;
  settings: BoardSettings;
  /** What hello tells boards. */
  routerUrls: string[];
  hellos: HelloRequest[];
  heartbeats: HeartbeatRequest[];
  readings: StoredReading[];
  gaps: { epoch: string; from: number; to: number; reason: string }[];
  /** Called before an append is taken; may throw an AppError or never settle. */
  beforeAppend: (batch: { from: number; count: number }) => void | Promise<void>;
  helloNeeded: boolean;
  /** All reports in the order in which they came, repeats included. */
  reports: OperationReport[];
  progress: ProgressRequest[];
  /** Content by `<operation>/<name>`, as far as it has come. */
  artifacts: Map<string, Buffer>;
  /** Called before reports are taken; may throw an AppError. */
  beforeResult: (reports: OperationReport[]) => void;
  /** Called before a chunk is taken; may throw an AppError. */
  beforeChunk: (received: number) => void;
  /** What boards have told of their modules and sources. */
  moduleReports: { boardUuid: string; request: ModulesRequest }[];
  /** What they are answered. */
  modules: ModulesAnswer;
  /** `operation.run` as the relay sends it. */
  run(boardUuid: string, request: Partial<RunRequest>): Promise<RunAnswer>;
  /** `operation.status` or `operation.cancel`. */
  ask(boardUuid: string, what: 'status' | 'cancel', ...operationIds: string[]): Promise<StatusAnswer>;
  call(uri: string, kwargs?: object, options?: object, args?: unknown[]): Promise<unknown>;
  /** Calls a board as a service would: role `service`, not `agent`. */
  session: autobahn.Session;
  killBoard(boardUuid: string): Promise<unknown>;
  stop(): void;
}

interface Disclosed {
  caller_authid: string;
  caller_authrole: string;
}

type Handler = (kwargs: unknown, details: Disclosed) => unknown;

export const silent: Logger = {
  error: () => {},
  warn: () => {},
  info: () => {},
  debug: () => {},
  child: () => silent,
};

export async function startStandIn(router: TestCrossbar): Promise<StandIn> {
  const fences = new Map<string, number>();
  const connection = new autobahn.Connection({
    realm: router.realm,
    authmethods: ['ticket'],
    authid: 'agent',
    onchallenge: () => router.agentTicket,
    max_retries: -1,
    initial_retry_delay: 0.1,
    max_retry_delay: 0.2,
    on_user_error: () => {},
    // The typings do not know RawSocket's path.
    transports: [{ type: 'rawsocket', path: router.agentSocket } as never],
  });
  const opened = Promise.withResolvers<void>();

  const standIn: StandIn = {
    publicKeys: new Map(),
    codes: new Map(),
    settings: { batchIntervalMs: 50, heartbeatIntervalMs: 200, reconnectSpreadMs: 50 },
    routerUrls: [router.url],
    hellos: [],
    heartbeats: [],
    readings: [],
    gaps: [],
    beforeAppend: () => {},
    helloNeeded: false,
    reports: [],
    progress: [],
    artifacts: new Map(),
    moduleReports: [],
    modules: { unknownDevices: 'create', createPerMinute: 1000, version: 'first', decisions: [] },
    beforeResult: () => {},
    beforeChunk: () => {},
    async run(boardUuid, request) {
      const kwargs = {
        operationId: randomUUID(),
        attempt: 1,
        kwargs: {},
        deadlineAt: Date.now() + 60_000,
        sentAt: Date.now(),
        inlineMs: 1000,
        ...request,
      };
      return parseRunAnswer(await standIn.call(boardProcedureUri(boardUuid, 'operation.run'), kwargs));
    },
    async ask(boardUuid, what, ...operationIds) {
      const uri = boardProcedureUri(boardUuid, `operation.${what}`);
      return parseStatusAnswer(await standIn.call(uri, { operationIds }));
    },
    session: undefined as never,
    call: async (uri, kwargs = {}, options = {}, args = []) =>
      standIn.session.call(uri, args, kwargs, options as never),
    killBoard: (boardUuid) => standIn.call('wamp.session.kill_by_authid', {}, {}, [boardUuid]),
    stop: () => connection.close(),
  };

  function enrol(kwargs: unknown): EnrolAnswer {
    const { code, publicKey } = parseEnrolRequest(kwargs);
    const entry = requireCode(code);
    if (entry.usedBy !== undefined && entry.usedBy !== publicKey)
      throw new AppError('enrolment-code-used', 'the code was used');
    entry.usedBy = publicKey;
    standIn.publicKeys.set(entry.boardUuid, publicKey);
    return {
      boardUuid: entry.boardUuid,
      boardName: 'bench-1',
      tenantId: randomUUID(),
      realm: router.realm,
      routerUrls: [router.url],
      settings: standIn.settings,
    };
  }

  function requireCode(code: string) {
    const entry = standIn.codes.get(code);
    if (!entry) throw new AppError('enrolment-code-invalid', 'unknown code');
    if (entry.refuse) throw new AppError(entry.refuse, 'refused');
    return entry;
  }

  async function append(kwargs: unknown) {
    const batch = parseReadingsBatch(kwargs);
    await standIn.beforeAppend({ from: batch.from, count: batch.readings.length });
    const acked = fences.get(batch.epoch) ?? 0;
    if (batch.from > acked + 1) {
      standIn.gaps.push({
        epoch: batch.epoch,
        from: acked + 1,
        to: batch.from - 1,
        reason: batch.lost?.reason ?? 'unknown',
      });
    }
    for (const [index, [stream, at, value]] of batch.readings.entries()) {
      const seq = batch.from + index;
      if (seq > acked)
        standIn.readings.push({
          epoch: batch.epoch,
          seq,
          at,
          value,
          stream: batch.streams[stream]?.name ?? '',
        });
    }
    const ackedSeq = Math.max(acked, batch.from + batch.readings.length - 1);
    fences.set(batch.epoch, ackedSeq);
    return { ackedSeq, batchIntervalMs: standIn.settings.batchIntervalMs };
  }

  function takeReports(kwargs: unknown) {
    const { reports } = parseResultRequest(kwargs);
    standIn.beforeResult(reports);
    standIn.reports.push(...reports);
    return { acknowledged: reports.map((each) => each.operationId) };
  }

  /** What the test has not decided about stays as the board treats it. */
  function takeModules(kwargs: unknown, { caller_authid: boardUuid }: Disclosed): ModulesAnswer {
    const request = parseModulesRequest(kwargs);
    standIn.moduleReports.push({ boardUuid, request });
    const { decisions = [] } = standIn.modules;
    const undecided = request.modules.filter(({ name }) => !decisions.some((each) => each.name === name));
    return {
      ...standIn.modules,
      decisions: [...decisions, ...undecided.map(({ name, state }) => ({ name, state }))],
    };
  }

  function takeChunk(kwargs: unknown) {
    const { operationId, artifact, offset, data } = parseArtifactChunk(kwargs);
    const key = `${operationId}/${artifact.name}`;
    const known = standIn.artifacts.get(key) ?? Buffer.alloc(0);
    standIn.beforeChunk(known.length);
    const fits = data !== undefined && offset === known.length;
    const content = fits ? Buffer.concat([known, Buffer.from(data, 'base64')]) : known;
    standIn.artifacts.set(key, content);
    const hash = createHash('sha256').update(content).digest('hex');
    return { received: content.length, complete: hash === artifact.sha256 };
  }

  const handlers: Record<string, Handler> = {
    [agentUris.enrol]: enrol,
    [agentUris.hello]: (kwargs) => {
      const hello = parseHelloRequest(kwargs);
      standIn.hellos.push(hello);
      standIn.helloNeeded = false;
      return {
        serverTime: Date.now(),
        routerUrls: standIn.routerUrls,
        settings: standIn.settings,
        ackedSeq: fences.get(hello.spoolEpoch) ?? 0,
      };
    },
    [agentUris.heartbeat]: (kwargs) => {
      standIn.heartbeats.push(parseHeartbeatRequest(kwargs));
      return { serverTime: Date.now(), helloNeeded: standIn.helloNeeded };
    },
    [agentUris.appendReadings]: append,
    [agentUris.operationResult]: takeReports,
    [agentUris.operationProgress]: (kwargs) => {
      standIn.progress.push(parseProgressRequest(kwargs));
      return { taken: true };
    },
    [agentUris.putArtifact]: takeChunk,
    [agentUris.reportModules]: takeModules,
  };

  function authenticate(args: unknown[]): object {
    const [, authid, details] = args as [string, string, Record<string, unknown>];
    if (details.authmethod === 'ticket') {
      requireCode(String(details.ticket));
      return { realm: router.realm, role: 'enrolee' };
    }
    const extra = details.authextra as { pubkey?: string } | undefined;
    const known = standIn.publicKeys.get(authid);
    if (known === undefined) throw new AppError('board-revoked', 'this board is not known');
    if (known !== extra?.pubkey) throw new AppError('not-authorized', 'wrong key');
    return { realm: router.realm, role: 'board', pubkey: known };
  }

  function authorize(args: unknown[]): object {
    const [caller, uri, action] = args as [{ authid: string }, string, string];
    const own = boardPrefix(caller.authid);
    const allow = action === 'register' ? uri === own : uri.startsWith('boardwalk.agent.');
    return { allow, disclose: true };
  }

  connection.onopen = (session) => {
    standIn.session = session;
    const register = (uri: string, run: (args: unknown[], kwargs: unknown, details: Disclosed) => unknown) =>
      session.register(
        uri,
        async (args, kwargs, details) => {
          try {
            return await run(args ?? [], kwargs, details as unknown as Disclosed);
          } catch (error) {
            if (!(error instanceof AppError)) throw error;
            throw new autobahn.Error(errorUri(error.code), [error.message], error.details);
          }
        },
        { force_reregister: true } as never,
      );
    void Promise.all([
      ...Object.entries(handlers).map(([uri, handler]) =>
        register(uri, (_args, kwargs, details) => handler(kwargs, details)),
      ),
      register(agentUris.authenticate, authenticate),
      register(agentUris.authorize, authorize),
    ]).then(() => opened.resolve(), opened.reject);
  };
  connection.open();
  await opened.promise;
  return standIn;
}
