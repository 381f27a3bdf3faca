/**
 * `boardwalk.agent.hello`: makes the calling session the board's live one, in one transaction with
 * everything the board says about itself. From its answer on the board is online.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { recordAudit } from '../../common/db/queries/audit.ts';
import { wakeBoard } from '../../common/db/queries/board-queues.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { declareSpool, declareStreams } from '../../common/db/queries/ingest-streams.ts';
import { countReplacements, type OpenedSession, openSession } from '../../common/db/queries/presence.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { hashToken } from '../../common/runtime/secrets.ts';
import { shuffled } from '../../common/runtime/shuffled.ts';
import type { HelloAnswer, HelloRequest } from '../../common/wamp/agent-procedures.ts';
import { hashContracts } from '../../common/wamp/contract.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import { isReservedProcedure } from '../../common/wamp/uris.ts';
import { createAttemptLimit } from '../auth/attempt-limit.ts';
import type { JoinGate } from '../auth/join-gate.ts';
import type { JoinFacts } from '../auth/joins.ts';
import type { BoardDirectory } from '../boards/directory.ts';
import type { Settings } from '../settings.ts';
import type { PresenceChanges } from './changes.ts';
import { activateCredential, replaceContracts } from './hello-queries.ts';
import type { Leaves } from './leaves.ts';
import { replaceModules } from './replace-modules.ts';

export interface HelloOptions {
  database: Database;
  cell: string;
  agentId: string;
  boardUrls: readonly string[];
  settings: Settings;
  directory: BoardDirectory;
  gate: JoinGate;
  leaves: Leaves;
  changes: PresenceChanges;
  /** How the session joined, from memory or from the router. */
  findJoin: (wampSession: number) => Promise<JoinFacts | undefined>;
  /** Says goodbye to a WAMP session of this cell; never throws. */
  kill: (wampSession: number, message: string) => Promise<void>;
  /** Something waits for this board: a conductor may go on. */
  onAwaited: (boardUuid: string) => void;
  logger: Logger;
}

/** Two devices with one key throw each other out; more often than this they are kept waiting. */
const replacementLimit = { count: 5, withinSeconds: 60 } as const;

/** Each costs a transaction and, in a new session, rows that are kept for long. */
const helloLimit = { attempts: 30, windowMs: 60_000 } as const;

type Hello = OpenedSession & { ackedSeq: number; keyActivated: boolean; isAwaited: boolean };

export function createHello(options: HelloOptions) {
  const { database, cell, logger } = options;
  /**
   * Declarations that this agent wrote, by board: the usual hello repeats them word for word. They
   * count only while no other agent has heard the board in between. Hashed: they may be long.
   */
  const declared = new Map<string, string>();
  const hellos = createAttemptLimit(helloLimit);

  async function write(
    manager: EntityManager,
    request: HelloRequest,
    caller: Caller,
    join: JoinFacts,
    heartbeatIntervalMs: number,
  ): Promise<Hello> {
    const boardUuid = caller.authid;
    const opened = await openSession(manager, {
      boardUuid,
      cell,
      agentId: options.agentId,
      wampSession: caller.wampSession,
      bootId: request.bootId,
      agentVersion: request.agentVersion,
      connectivity: request.connectivity,
      heartbeatIntervalMs,
      remoteAddress: join.address,
      journalEpoch: request.journalEpoch,
    });
    if (opened.replaced) await refuseFlapping(manager, boardUuid);
    const keyActivated = await activateCredential(manager, boardUuid, join.credentialId);
    if (keyActivated) await auditKey(manager, opened.tenantId, boardUuid, join.address);
    const hash = hashContracts(request.procedures);
    if (hash !== opened.contractsHash) await replaceContracts(manager, boardUuid, hash, request.procedures);
    const isMine = opened.previousAgentId === options.agentId;
    if (!isMine || declared.get(boardUuid) !== hashOf(request.modules)) {
      await replaceModules(manager, { uuid: boardUuid, tenantId: opened.tenantId }, request.modules);
      await declareStreams(
        manager,
        boardUuid,
        request.modules.flatMap((each) => each.streams),
      );
    }
    const spool = await declareSpool(manager, boardUuid, request.spoolEpoch);
    const isAwaited = await wakeBoard(manager, boardUuid);
    await appendEvents(manager, opened.events);
    return { ...opened, ackedSeq: spool.ackedSeq, keyActivated, isAwaited };
  }

  return async (request: HelloRequest, caller: Caller): Promise<HelloAnswer> => {
    const boardUuid = caller.authid;
    try {
      refuseFlood(boardUuid);
      const reserved = request.procedures.find((each) => isReservedProcedure(each.name));
      if (reserved)
        throw new AppError('invalid-arguments', `procedures: '${reserved.name}' is a reserved name`, {
          details: { field: 'procedures' },
        });
      const join = await options.findJoin(caller.wampSession);
      if (!join) throw new AppError('unavailable', 'the session is gone');
      const settings = options.settings.forBoard(boardUuid);
      const hello = await database.transaction(
        (manager) => write(manager, request, caller, join, settings.heartbeatIntervalMs),
        { repeatable: true },
      );
      remember(boardUuid, request);
      await settle(hello, caller);
      return {
        serverTime: Date.now(),
        routerUrls: shuffled(options.boardUrls),
        settings,
        ackedSeq: hello.ackedSeq,
      };
    } finally {
      options.directory.forget(boardUuid);
      options.gate.leave(caller.wampSession);
    }
  };

  function refuseFlood(boardUuid: string): void {
    const waitSeconds = hellos.retryAfterSeconds(boardUuid);
    if (waitSeconds > 0)
      throw new AppError('too-many-requests', `at most ${helloLimit.attempts} hellos in a minute`, {
        details: { retryAfterMs: waitSeconds * 1000 },
      });
    hellos.count(boardUuid);
  }

  function remember(boardUuid: string, request: HelloRequest): void {
    declared.delete(boardUuid);
    declared.set(boardUuid, hashOf(request.modules));
    if (declared.size <= 10_000) return;
    for (const oldest of declared.keys()) {
      declared.delete(oldest);
      break;
    }
  }

  /** What follows from the commit. */
  async function settle(hello: Hello, caller: Caller): Promise<void> {
    options.changes.announce(hello.events);
    if (hello.isAwaited) options.onAwaited(caller.authid);
    if (hello.replaced?.cell === cell)
      await options.kill(hello.replaced.wampSession, 'a newer session of this board took over');
    if (hello.keyActivated) logger.info({ boardUuid: caller.authid }, 'a new key of the board is active');
    // It left while its hello was being written: the leave found nothing to end.
    if (options.leaves.hasLeft(caller.wampSession)) options.leaves.note(caller.wampSession);
  }

  async function refuseFlapping(manager: EntityManager, boardUuid: string): Promise<void> {
    const { count, withinSeconds } = replacementLimit;
    if ((await countReplacements(manager, boardUuid, withinSeconds)) <= count) return;
    logger.warn(
      { boardUuid },
      'sessions of this board keep replacing one another: two devices with one key?',
    );
    throw new AppError('too-many-requests', 'sessions of this board keep replacing one another', {
      details: { retryAfterMs: 10_000, reason: 'session-conflict' },
    });
  }
}

const hashOf = (modules: HelloRequest['modules']) => hashToken(JSON.stringify(modules));

async function auditKey(
  manager: EntityManager,
  tenantId: string,
  boardUuid: string,
  address: string | undefined,
): Promise<void> {
  await recordAudit(manager, {
    tenantId,
    actorKind: 'board',
    actor: boardUuid,
    action: 'activate-key',
    targetKind: 'board',
    target: boardUuid,
    remoteAddress: address,
    result: 'ok',
  });
}
