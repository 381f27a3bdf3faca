/**
 * Puts the agent together. It reads in the order of a board's life: let in, enrolled, greeted,
 * heard, called, gone.
 */
import { randomUUID } from 'node:crypto';
import { createArtifactStore } from '../common/artifacts/store.ts';
import { createDatabase, waitForDatabase } from '../common/db/database.ts';
import { findLiveConductors } from '../common/db/queries/conductors.ts';
import { countLiveSessions } from '../common/db/queries/presence.ts';
import { agentHeartbeatMs } from '../common/db/queries/wamp-agents.ts';
import { messageOf } from '../common/runtime/app-error.ts';
import { every } from '../common/runtime/every.ts';
import type { Lifecycle } from '../common/runtime/lifecycle.ts';
import type { Logger } from '../common/runtime/logger.ts';
import { createWakeClient } from '../common/wake/wake-client.ts';
import { registerAll, type WampSession } from '../common/wamp/typed-session.ts';
import { agentUris, metaUris } from '../common/wamp/uris.ts';
import { beatAgent, insertAgent, noteRouter, stopAgent } from './agent-row.ts';
import { createAttemptLimit } from './auth/attempt-limit.ts';
import { createAuthenticator } from './auth/authenticator.ts';
import { createAuthorizer } from './auth/authorizer.ts';
import { createEndedKeys } from './auth/ended-keys.ts';
import { createJoinGate } from './auth/join-gate.ts';
import { createJoinMemory, type JoinFacts } from './auth/joins.ts';
import { createKeyCache } from './auth/key-cache.ts';
import { peerAddress } from './auth/peer-address.ts';
import { createRefusals } from './auth/refusals.ts';
import { createBoardDirectory } from './boards/directory.ts';
import type { AgentConfig } from './config.ts';
import { createEnrol } from './enrolment/enrol.ts';
import { startServer } from './http/server.ts';
import { createConsumerMemory } from './ingest/consumers.ts';
import { createIngest } from './ingest/ingest.ts';
import { createNewestAt } from './ingest/newest-at.ts';
import { createReadingsQuota } from './ingest/readings-quota.ts';
import { createSettingsPush } from './live/fresh-settings.ts';
import { createLiveHub } from './live/hub.ts';
import { createPublisher } from './live/publisher.ts';
import { createMetrics } from './metrics.ts';
import { createPutArtifact } from './operations/artifacts.ts';
import { createOperationResults } from './operations/results.ts';
import { createBacklogs } from './presence/backlogs.ts';
import { createPresenceChanges } from './presence/changes.ts';
import { createHello } from './presence/hello.ts';
import { createLeaves } from './presence/leaves.ts';
import { reconcile } from './presence/reconcile.ts';
import { createSignsOfLife } from './presence/signs-of-life.ts';
import { createAppendReadings, createGetCaller } from './procedures/append-readings.ts';
import { createHeartbeat } from './procedures/heartbeat.ts';
import { procedureRefusal } from './procedures/refusal.ts';
import { createReportModules } from './procedures/report-modules.ts';
import { createCallSlots } from './relay/call-slots.ts';
import { createContractCache } from './relay/contracts.ts';
import { createDisconnect } from './relay/disconnect.ts';
import { createRelayRoutes } from './relay/routes.ts';
import { createRelay } from './relay/rpc.ts';
import { openLink } from './router/link.ts';
import { closeReason, findSession, killByAuthid, killSession } from './router/meta.ts';
import { createRouterSession } from './router/router-session.ts';
import { createSettings } from './settings.ts';

const joinTimeoutMs = 30_000;
const drainMs = 5000;
const reconcileMs = 60_000;
const countMs = 10_000;
const refreshMs = 300_000;

export async function startAgent(config: AgentConfig, logger: Logger, lifecycle: Lifecycle): Promise<void> {
  const id = randomUUID();
  const { cell, boardUrls, trustedProxies } = config;
  const { realm } = config.router;
  const metrics = createMetrics();
  const database = createDatabase({
    url: config.databaseUrl,
    logger,
    poolSize: config.databasePool,
    onRetry: (kind) => metrics.databaseRetries.inc({ kind }),
  });
  lifecycle.onStop('database', () => database.close());
  await waitForDatabase(database, logger, lifecycle.stopping);

  // Who is let in, and what they may do.
  const directory = createBoardDirectory(database);
  const joins = createJoinMemory();
  const gate = createJoinGate();
  const refusals = createRefusals({ database, metrics, logger });
  const codeAttempts = createAttemptLimit({ attempts: 10, windowMs: 60_000 });
  const authenticate = createAuthenticator({
    database,
    realm,
    gate,
    joins,
    codeAttempts,
    refusals,
    metrics,
    trustedProxies,
  });
  const keys = createKeyCache(database);
  const authorize = createAuthorizer({ directory, keys, refusals, metrics, trustedProxies });

  // Who does the work that is due.
  const conductors = createWakeClient({
    findConductors: () => database.read(findLiveConductors),
    key: config.relay.key,
    logger,
  });
  lifecycle.onStop('wakes', () => conductors.close());

  // Who is there.
  const hub = createLiveHub();
  const publisher = createPublisher(logger);
  const settings = createSettings({ config: config.settings, isWatched: hub.isWatched });
  const changes = createPresenceChanges(publisher, metrics);
  const signs = createSignsOfLife(database, logger);
  const backlogs = createBacklogs(database, logger);
  const leaves = createLeaves({ database, cell, directory, changes, logger });
  const endedKeys = createEndedKeys({ database, keys, kill: endSessionsOf, logger });
  const hello = createHello({
    database,
    cell,
    agentId: id,
    boardUrls,
    settings,
    directory,
    gate,
    leaves,
    changes,
    findJoin,
    kill: (wampSession, message) =>
      quietly(() => killSession(router.current(), wampSession, closeReason, message)),
    onAwaited: (boardUuid) => conductors.wake({ boards: [boardUuid] }),
    logger,
  });
  const heartbeat = createHeartbeat({
    cell,
    directory,
    signs,
    backlogs,
    onRevoked: (boardUuid) => void quietly(() => endSessionsOf(boardUuid, 'this board is revoked')),
  });

  // What they send and what is asked of them.
  const newestAt = createNewestAt(database, logger);
  await newestAt.refresh();
  const consumers = createConsumerMemory(database, logger);
  await consumers.refresh();
  lifecycle.onStop('consumers of readings', () => consumers.stop());
  const ingest = createIngest({
    database,
    newestAt,
    metrics,
    logger,
    consumersOf: consumers.of,
    onOutbox: (ids) => conductors.wake({ consumers: ids }),
  });
  const quota = createReadingsQuota({ database, defaults: config.quotas, logger });
  lifecycle.onStop('usage of tenants', () => quota.stop());
  const getCaller = createGetCaller(directory.find, cell);
  const appendReadings = createAppendReadings({
    ingest,
    hub,
    publisher,
    newestAt,
    signs,
    settings,
    quota,
    getCaller,
  });
  const enrol = createEnrol({ database, realm, boardUrls, settings, joins });
  const results = createOperationResults({
    database,
    agentId: id,
    getCaller,
    onReadied: (boards) => conductors.wake({ boards }),
    onEnded: (operations) => conductors.wake({ operations }, { everybody: true }),
    metrics,
    logger,
  });
  const putArtifact = createPutArtifact({
    database,
    store: config.artifacts.dir === undefined ? undefined : createArtifactStore(config.artifacts.dir),
    keptDays: config.artifacts.days,
    getCaller,
    noteRunning: results.noteRunning,
    metrics,
    logger,
  });
  const reportModules = createReportModules({ database, getCaller, metrics });
  const relay = createRelay({
    cell,
    session: () => router.current(),
    directory,
    contracts: createContractCache(database),
    slots: createCallSlots(config.callsPerBoard),
    signs,
    metrics,
  });

  const router = createRouterSession({
    open: () => openLink({ ...config.router, joinTimeoutMs, logger }),
    async setUp(session) {
      // Leaves first: no board can come, and go, before the registrations.
      await session.subscribe(metaUris.onLeave, (args) => leaves.note(Number(args[0])));
      await publisher.follow(session);
      const shared = { invoke: 'roundrobin' } as const;
      await registerAll(
        session,
        {
          enrol,
          hello,
          heartbeat,
          appendReadings,
          operationResult: results.operationResult,
          operationProgress: results.operationProgress,
          putArtifact,
          reportModules,
        },
        {
          ...shared,
          onRefused: (procedure, caller, error) => {
            if (error.code === 'unavailable') return;
            // A tenant over its quota is no trespasser, and has many boards.
            if (error.details.quota !== undefined) return metrics.overQuota.inc({ procedure });
            const address = joins.find(caller?.wampSession ?? 0)?.address;
            if (procedure === 'enrol') codeAttempts.count(address ?? 'unknown');
            refusals.record(procedureRefusal(procedure, caller, address, error));
          },
        },
      );
      await session.register(agentUris.authorize, authorize, shared);
      // Last: from here on boards are let in.
      await session.register(agentUris.authenticate, authenticate, shared);
    },
    onServing(session) {
      void quietly(() => beat());
      void quietly(() => database.read((manager) => noteRouter(manager, cell)));
      void quietly(() => compare(session));
      void quietly(() => endedKeys.checkAll(session));
    },
    onLost() {
      publisher.reset();
      // A heartbeat after the row was marked as stopped would bring it back to life.
      if (!lifecycle.stopping.aborted) void quietly(() => beat());
    },
    logger,
  });

  /** How a session joined: from memory, or from the router when another agent let it in. */
  async function findJoin(wampSession: number): Promise<JoinFacts | undefined> {
    const known = joins.find(wampSession);
    if (known) return known;
    const info = await findSession(router.current(), wampSession);
    const { credential } = info?.authextra ?? {};
    return (
      info && {
        credentialId: typeof credential === 'string' ? credential : undefined,
        address: peerAddress(info.transport, trustedProxies),
      }
    );
  }

  function endSessionsOf(authid: string, message: string): Promise<number> {
    return killByAuthid(router.current(), authid, closeReason, message);
  }

  const compare = (session: WampSession) => reconcile({ database, cell, leaves, session });

  async function countSessions(): Promise<void> {
    const live = await database.read((manager) => countLiveSessions(manager, cell));
    metrics.sessionsLive.set(live);
    settings.countBoards(live);
  }

  /** For what need not succeed: it is done again, or told by a row. */
  async function quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      logger.debug({ reason: messageOf(error) }, 'did not work out, goes on without');
    }
  }

  const routes = createRelayRoutes({
    relay,
    hub,
    onWatched: createSettingsPush({
      cell,
      directory,
      session: () => router.current(),
      batchIntervalMs: settings.batchIntervalMs,
      logger,
    }),
    disconnect: createDisconnect({ database, cell, leaves, endSessionsOf }),
    metrics,
    logger,
  });
  const server = await startServer({
    ...config.relay,
    relayKey: config.relay.key,
    relayRoutes: routes.byPath,
    readiness: {
      database: async () =>
        void (await database.read((manager) => manager.query('SELECT 1'), { deadlineMs: 0 })),
      router: async () => void (await router.current().call(metaUris.sessionCount, [], {})),
    },
    metrics,
    logger,
  });
  lifecycle.onStop('records', async () => {
    await Promise.all([leaves.stop(), signs.stop(), backlogs.stop(), refusals.stop(), results.stop()]);
  });
  const relayUrl = config.relay.advertisedUrl ?? `http://${config.relay.host}:${server.port}`;
  const row = { id, cell, relayUrl };
  await database.read((manager) => insertAgent(manager, row));
  async function beat(): Promise<void> {
    const known = await database.read((manager) => beatAgent(manager, id, router.isServing()));
    if (!known) await database.read((manager) => insertAgent(manager, row));
  }

  // Before the first comparison: boards that a dead router held will all come back.
  await countSessions();
  router.start();
  const tasks = [
    every({ name: 'heartbeat', intervalMs: agentHeartbeatMs, logger }, beat),
    every({ name: 'ended-keys', intervalMs: 2000, logger }, async () => {
      if (router.isServing()) await endedKeys.check();
    }),
    every({ name: 'count-sessions', intervalMs: countMs, logger }, countSessions),
    every({ name: 'compare-sessions', intervalMs: reconcileMs, logger, jitter: 0.5 }, async () => {
      if (router.isServing()) await compare(router.current());
    }),
    every({ name: 'newest-reading', intervalMs: refreshMs, logger }, newestAt.refresh),
  ];
  lifecycle.onStop('calls under way', async () => {
    await Promise.all(tasks.map((each) => each.stop()));
    await quietly(() => database.read((manager) => stopAgent(manager, id), { deadlineMs: 500 }));
    routes.endStreams();
    await Promise.all([server.stop(drainMs), router.drain(drainMs)]);
    await router.stop();
  });
  logger.info({ agentId: id, cell, relayUrl }, 'wamp-agent started');
}
