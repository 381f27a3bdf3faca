/**
 * Puts the agent together. It reads in the order of a board's life: let in, enrolled, greeted,
 * heard, called, gone.
 */
import { agentHeartbeatMs } from '../common/db/queries/wamp-agents.ts';
import { every } from '../common/runtime/every.ts';
import type { Lifecycle } from '../common/runtime/lifecycle.ts';
import type { Logger } from '../common/runtime/logger.ts';
import { metaUris } from '../common/wamp/uris.ts';
import { createOwnRow, noteRouter } from './agent-row.ts';
import { createEntrance } from './auth/entrance.ts';
import { openBase } from './base.ts';
import { createBoardDirectory } from './boards/directory.ts';
import { createGetCaller } from './boards/get-caller.ts';
import type { AgentConfig } from './config.ts';
import { createEnrol } from './enrolment/enrol.ts';
import { startServer } from './http/server.ts';
import { createReadings } from './ingest/readings.ts';
import { createSettingsPush } from './live/fresh-settings.ts';
import { createLiveHub } from './live/hub.ts';
import { createPublisher } from './live/publisher.ts';
import { createOperations } from './operations/operations.ts';
import { createPresence } from './presence/presence.ts';
import { register } from './procedures/register.ts';
import { createReportModules } from './procedures/report-modules.ts';
import { createCallSlots } from './relay/call-slots.ts';
import { createContractCache } from './relay/contracts.ts';
import { createRelayRoutes } from './relay/routes.ts';
import { createRelay } from './relay/rpc.ts';
import { openLink } from './router/link.ts';
import { createRouterSession } from './router/router-session.ts';
import { createSettings } from './settings.ts';

const joinTimeoutMs = 30_000;
const drainMs = 5000;
const compareMs = 60_000;
const countMs = 10_000;
const newestMs = 300_000;
const endedKeysMs = 2000;

export async function startAgent(config: AgentConfig, logger: Logger, lifecycle: Lifecycle): Promise<void> {
  const session = () => router.current();
  const base = await openBase({ config, logger, session }, lifecycle);
  const { id, database, metrics, quietly } = base;
  const { cell, boardUrls } = config;

  // Who is let in, and who is there.
  const directory = createBoardDirectory(database);
  const entrance = createEntrance(base, directory);
  const hub = createLiveHub();
  const publisher = createPublisher(logger);
  const settings = createSettings({ config: config.settings, isWatched: hub.isWatched });
  const presence = createPresence(base, { directory, entrance, publisher, settings });
  const { signs, leaves } = presence;

  // What they send and what is asked of them.
  const getCaller = createGetCaller(directory, cell);
  const readings = await createReadings(base, { hub, publisher, signs, settings, getCaller });
  const operations = createOperations(base, getCaller);
  const procedures = {
    enrol: createEnrol({ database, realm: config.router.realm, boardUrls, settings, joins: entrance.joins }),
    hello: presence.hello,
    heartbeat: presence.heartbeat,
    appendReadings: readings.appendReadings,
    operationResult: operations.operationResult,
    operationProgress: operations.operationProgress,
    putArtifact: operations.putArtifact,
    reportModules: createReportModules({ database, getCaller, metrics }),
  };
  const router = createRouterSession({
    open: () => openLink({ ...config.router, joinTimeoutMs, logger }),
    setUp: (joined) => register(joined, { entrance, leaves, publisher, procedures }),
    onServing(joined) {
      void quietly(() => ownRow.beat());
      void quietly(() => database.read((manager) => noteRouter(manager, cell)));
      void quietly(() => presence.compare(joined));
      void quietly(() => presence.endedKeys.checkAll(joined));
    },
    onLost() {
      publisher.reset();
      // A heartbeat after the row was marked as stopped would bring it back to life.
      if (!lifecycle.stopping.aborted) void quietly(() => ownRow.beat());
    },
    logger,
  });

  // What api and conductor ask for.
  const { batchIntervalMs } = settings;
  const routes = createRelayRoutes({
    relay: createRelay({
      cell,
      session,
      directory,
      contracts: createContractCache(database),
      slots: createCallSlots(config.callsPerBoard),
      signs,
      metrics,
    }),
    hub,
    onWatched: createSettingsPush({ cell, directory, session, batchIntervalMs, logger }),
    disconnect: presence.disconnect,
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
      router: async () => void (await session().call(metaUris.sessionCount, [], {})),
    },
    metrics,
    logger,
  });
  lifecycle.onStop('records', async () => {
    await Promise.all([presence.stop(), entrance.stop(), operations.stop()]);
  });
  const relayUrl = config.relay.advertisedUrl ?? `http://${config.relay.host}:${server.port}`;
  const ownRow = await createOwnRow(database, { id, cell, relayUrl }, router.isServing);

  // Before the first comparison: boards that a dead router held will all come back.
  await presence.count();
  router.start();
  const tasks = [
    every({ name: 'heartbeat', intervalMs: agentHeartbeatMs, logger }, ownRow.beat),
    every({ name: 'ended-keys', intervalMs: endedKeysMs, logger }, async () => {
      if (router.isServing()) await presence.endedKeys.check();
    }),
    every({ name: 'count-sessions', intervalMs: countMs, logger }, presence.count),
    every({ name: 'compare-sessions', intervalMs: compareMs, logger, jitter: 0.5 }, async () => {
      if (router.isServing()) await presence.compare(session());
    }),
    every({ name: 'newest-reading', intervalMs: newestMs, logger }, readings.refreshNewest),
  ];
  lifecycle.onStop('calls under way', async () => {
    await Promise.all(tasks.map((each) => each.stop()));
    await quietly(ownRow.stop);
    routes.endStreams();
    await Promise.all([server.stop(drainMs), router.drain(drainMs)]);
    await router.stop();
  });
  logger.info({ agentId: id, cell, relayUrl }, 'wamp-agent started');
}
