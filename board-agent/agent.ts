/**
 * One board agent: spool, sources, procedures, operations and session, put together. Nothing process-wide, so
 * that tests and benches run many in one process. Order of the parts, top to bottom: what a part
 * needs is above it.
 */
import { join } from 'node:path';
import { AppError, messageOf } from '../common/runtime/app-error.ts';
import type { JsonObject } from '../common/runtime/guards.ts';
import type { Logger } from '../common/runtime/logger.ts';
import { type HelloAnswer, type HelloRequest, parseBoardSettings } from '../common/wamp/agent-procedures.ts';
import type { ReadingsBatch } from '../common/wamp/readings.ts';
import { boardPrefix, reservedProcedures } from '../common/wamp/uris.ts';
import { type Clock, systemClock } from './clock.ts';
import { createControlServer } from './control/server.ts';
import { createEmit } from './emit.ts';
import { readConnectivity } from './host/facts.ts';
import { deadLetterLimits } from './intake/dead-letters.ts';
import { createIntake } from './intake/intake.ts';
import { createModulesReporter } from './intake/reporter.ts';
import { createOperations } from './operations/operations.ts';
import { createBuiltinProcedures } from './procedures/builtin.ts';
import { createDeadLetterProcedures } from './procedures/dead-letters.ts';
import { createDispatcher } from './procedures/dispatcher.ts';
import { createRegistry } from './procedures/registry.ts';
import { createSupportBundle } from './procedures/support-bundle.ts';
import { createReadingsSender } from './readings-sender.ts';
import { createServerClock } from './server-clock.ts';
import { type BoardSession, createBoardSession } from './session/board-session.ts';
import type { OpenLink, SocketFactory } from './session/link.ts';
import type { AgentSettings } from './settings.ts';
import { createSources } from './sources/create-sources.ts';
import { createSpool, type Spool } from './spool/spool.ts';
import { createStampClock } from './stamp-clock.ts';
import { findIdentity, type Identity, storeIdentity } from './state/identity.ts';
import { readBootId } from './state/process-facts.ts';
import { type AgentStatus, createStatusWriter } from './state/status-file.ts';
import { agentVersion } from './version.ts';

export interface AgentOptions {
  stateDir: string;
  identity: Identity;
  settings: AgentSettings;
  logger: Logger;
  clock?: Clock;
  random?: () => number;
  open?: OpenLink;
  createSocket?: SocketFactory;
}

export interface Agent {
  start(): Promise<void>;
  /** Stops the sources, puts what they gave on disk, leaves the realm. */
  stop(): Promise<void>;
  /** Calls a procedure of this board, as from afar. Rejects with AppErrors. */
  callLocally(procedure: string, kwargs: JsonObject): Promise<unknown>;
  /** Of an agent that was not started: closes its files. */
  close(): void;
  session: BoardSession;
  spool: Spool;
  status(): AgentStatus;
}

const dayMs = 86_400_000;
/** Of the spool's bytes, for dead letters at most. */
const letterShare = 0.25;

export function createAgent(options: AgentOptions): Agent {
  const { stateDir, settings, logger, clock = systemClock } = options;
  const { boardUuid } = options.identity;
  const serverClock = createServerClock(clock);
  const stampClock = createStampClock(clock, serverClock, logger.child({ part: 'clock' }));
  const startedAt = clock.now();
  let identity = options.identity;
  /** Epoch that the server has heard of in hello: only its readings are sent. */
  let greetedEpoch = '';
  let announcedEpoch = '';
  let sending: { abort: AbortController; ended: Promise<void> } | undefined;

  const writer = createStatusWriter({ stateDir, clock, logger, collect: () => status() });

  const spool = createSpool({
    path: join(stateDir, 'spool.db'),
    boardUuid,
    limits: { maxBytes: settings.spool.maxBytes, maxAgeMs: settings.spool.maxAgeDays * dayMs },
    commitIntervalMs: settings.spool.commitIntervalMs,
    clock,
    logger: logger.child({ part: 'spool' }),
    onCommit: () => sender.noteCommit(),
    onNewEpoch: () => queueMicrotask(() => session.greetAgain()),
  });

  const emit = createEmit({ spool, clock: stampClock, logger });
  /** Source by module, of the modules that sources declare themselves. */
  const owners = new Map<string, string>();
  const intake = createIntake({
    spool,
    clock: stampClock,
    logger: logger.child({ part: 'intake' }),
    letterBytes: Math.min(deadLetterLimits.bytes, settings.spool.maxBytes * letterShare),
    ownerOf: (module) => owners.get(module),
  });
  const sources = createSources(settings.sources, {
    emit,
    intake,
    clock: stampClock,
    serverNow: serverClock.now,
    logger,
    stateDir,
  });
  for (const [index, { modules }] of sources.entries())
    for (const { name } of modules) owners.set(name, settings.sources[index]?.name ?? name);

  const registry = createRegistry([
    ...createBuiltinProcedures({
      clock,
      contracts: () => registry.contracts,
      agentInfo: () => ({ boardUuid, startedAt }),
    }),
    createSupportBundle({ clock, stateDir, settings, status, contracts: () => registry.contracts }),
    ...(intake.hears() ? createDeadLetterProcedures(intake.letters) : []),
    ...sources.flatMap((each) => each.procedures),
  ]);

  const operations = createOperations({
    stateDir,
    boardUuid,
    registry,
    clock,
    serverClock,
    logger: logger.child({ part: 'operations' }),
    ...(options.random && { random: options.random }),
    call: (name, kwargs, timeoutMs) => session.call(name, kwargs, timeoutMs),
    onNewEpoch: () => session.greetAgain(),
    onFailure: (message) => writer.noteError('operations', message),
  });

  const modules = createModulesReporter({
    intake,
    clock,
    logger: logger.child({ part: 'modules' }),
    ...(options.random && { random: options.random }),
    send: (request, timeoutMs) => session.call('reportModules', request, timeoutMs),
    onFailure: (error) => writer.noteError('modules', messageOf(error)),
  });

  const dispatcher = createDispatcher({
    prefix: boardPrefix(boardUuid),
    registry,
    reserved: {
      [reservedProcedures.settings]: applySettings,
      [reservedProcedures.modules]: modules.reportNow,
      ...operations.reserved,
    },
    clock,
    logger: logger.child({ part: 'calls' }),
  });

  const control = createControlServer({
    stateDir,
    prefix: boardPrefix(boardUuid),
    invoke: dispatcher.invoke,
    logger: logger.child({ part: 'control' }),
  });

  const sender = createReadingsSender({
    spool,
    clock,
    logger: logger.child({ part: 'readings' }),
    ...(options.random && { random: options.random }),
    append,
    intervalMs: () => session.settings().batchIntervalMs,
    onAck: ({ at, batchIntervalMs }) => {
      writer.noteAck(at);
      session.applySettings({ batchIntervalMs });
    },
    onFailure: (error) => writer.noteError('readings', messageOf(error)),
  });

  const session: BoardSession = createBoardSession({
    principal: identity,
    helloRequest,
    onInvocation: dispatcher.invoke,
    onHello,
    onOnline,
    onOffline,
    onPulse({ at, roundTripMs, clockOffsetMs }) {
      serverClock.observe(at + roundTripMs + clockOffsetMs);
      writer.touch();
    },
    onChange: (state) => {
      if (state.phase === 'waiting' && state.lastFailure)
        writer.noteError('session', state.lastFailure.reason);
      writer.touch();
    },
    renewPrincipal: () => findIdentity(stateDir),
    spooledReadings: () => spool.waiting(),
    logger: logger.child({ part: 'session' }),
    clock,
    ...(options.random && { random: options.random }),
    ...(options.open && { open: options.open }),
    ...(options.createSocket && { createSocket: options.createSocket }),
  });

  function helloRequest(): HelloRequest {
    announcedEpoch = spool.epoch();
    return {
      agentVersion,
      bootId: readBootId(),
      connectivity: readConnectivity(settings.connectivity),
      procedures: registry.contracts,
      modules: sources.flatMap((each) => each.modules),
      spoolEpoch: announcedEpoch,
      journalEpoch: operations.epoch(),
    };
  }

  function onHello(answer: HelloAnswer): void {
    serverClock.observe(answer.serverTime);
    operations.noteGreeting();
    spool.reconcile(announcedEpoch, answer.ackedSeq);
    greetedEpoch = announcedEpoch;
    modules.noteHello();
    const { routerUrls, settings: wanted } = answer;
    if (JSON.stringify([identity.routerUrls, identity.settings]) === JSON.stringify([routerUrls, wanted]))
      return;
    // A new key may have been stored meanwhile: what is changed is the file's, not the one in memory.
    identity = { ...(findIdentity(stateDir) ?? identity), routerUrls, settings: wanted };
    try {
      storeIdentity(stateDir, identity);
    } catch (error) {
      logger.warn(
        { err: error },
        'the server’s new settings could not be stored; they hold until the next start',
      );
    }
  }

  function onOnline(): void {
    const abort = new AbortController();
    const parts = [sender.run(abort.signal), operations.report(abort.signal), modules.run(abort.signal)];
    sending = { abort, ended: Promise.all(parts).then(() => undefined) };
  }

  function onOffline(): void {
    sending?.abort.abort();
  }

  async function append(batch: ReadingsBatch, timeoutMs: number): Promise<unknown> {
    if (batch.epoch !== greetedEpoch)
      throw new AppError('unavailable', 'the server has not heard of the spool’s new epoch yet');
    if (!spool.isConfirmed())
      throw new AppError('unavailable', 'what the server has is not written to the spool yet');
    return session.call('appendReadings', batch, timeoutMs);
  }

  function applySettings(kwargs: object): unknown {
    const wanted = parseBoardSettings({ ...session.settings(), ...kwargs });
    session.applySettings(wanted);
    sender.wake();
    return wanted;
  }

  function status(): AgentStatus {
    return {
      ...writer.facts(),
      agentVersion,
      boardUuid,
      boardName: identity.boardName,
      startedAt: new Date(startedAt).toISOString(),
      writtenAt: new Date(clock.now()).toISOString(),
      session: session.state(),
      spool: spool.stats(),
      operations: operations.stats(),
      ...(intake.hears() && { intake: intake.stats() }),
      batchIntervalMs: session.settings().batchIntervalMs,
    };
  }

  /** A disk that fails now must not keep the agent from running. */
  async function startIntake(): Promise<void> {
    try {
      await intake.start();
    } catch (error) {
      logger.warn({ reason: messageOf(error) }, 'what the intake has kept could not be read yet');
    }
  }

  return {
    session,
    spool,
    status,
    async start() {
      await startIntake();
      for (const source of sources) await source.start();
      operations.start();
      await control.start();
      session.start();
      writer.start();
    },
    callLocally: (procedure, kwargs) =>
      dispatcher.invoke({ uri: boardPrefix(boardUuid) + procedure, args: [], kwargs }),
    close() {
      operations.close();
      spool.close();
    },
    async stop() {
      await control.stop();
      for (const source of sources) await source.stop();
      spool.flush();
      await operations.stop();
      sending?.abort.abort();
      await session.stop();
      await sending?.ended;
      writer.stop();
      operations.close();
      spool.close();
    },
  };
}
