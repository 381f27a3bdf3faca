/** The conductor process: owns time. It holds nothing in memory that another conductor would need. */
import { randomUUID } from 'node:crypto';
import { createArtifactStore } from '../common/artifacts/store.ts';
import { createDatabase, waitForDatabase } from '../common/db/database.ts';
import { countDueBoards } from '../common/db/queries/board-queues.ts';
import { findLiveConductors } from '../common/db/queries/conductors.ts';
import { findLiveAgents } from '../common/db/queries/wamp-agents.ts';
import { createAgentDirectory } from '../common/relay/agent-directory.ts';
import { createRelayClient } from '../common/relay/relay-client.ts';
import { every } from '../common/runtime/every.ts';
import { runProcess } from '../common/runtime/lifecycle.ts';
import { createLogger } from '../common/runtime/logger.ts';
import { startAlarms } from './alarms/alarms.ts';
import { createOutboxFeed } from './alarms/outbox-feed.ts';
import { countOpenAlarms } from './alarms/work.ts';
import { readConfig } from './config.ts';
import { startEngine } from './engine/engine.ts';
import { createMetrics } from './metrics.ts';
import { conductorHeartbeatMs, markStopped, writeHeartbeat } from './register.ts';
import { startScheduler } from './scheduler.ts';
import { startSinks } from './sinks/sinks.ts';
import { findSinkStandings } from './sinks/standings.ts';
import { startStatusServer } from './status-server.ts';
import { createTasks } from './tasks/all.ts';
import { createWakeRoute, type WakeRoute } from './wake-route.ts';
import { startSender } from './webhooks/sender.ts';

/** How often one looks how many conductors share the work. */
const standingMs = 2000;
const queueCountedTo = 10_000;

const bootLogger = createLogger('conductor', 'info');

await runProcess(bootLogger, async ({ onStop, stopping }) => {
  const config = readConfig(process.env);
  const id = randomUUID();
  const logger = createLogger('conductor', config.logLevel).child({ conductor: id });
  const metrics = createMetrics();
  const database = createDatabase({
    url: config.databaseUrl,
    logger,
    queryTimeoutMs: 120_000,
    poolSize: 20,
    onRetry: (kind) => metrics.databaseRetries.inc({ kind }),
  });
  onStop('database', () => database.close());

  let wakeRoute: WakeRoute | undefined;
  const status = await startStatusServer({
    host: config.host,
    port: config.port,
    wake: () => wakeRoute,
    checkReady: () => database.read((manager) => manager.query('SELECT 1'), { deadlineMs: 0 }),
    metrics: async () => ({
      contentType: metrics.registry.contentType,
      text: await metrics.registry.metrics(),
    }),
  });
  onStop('status server', () => status.close());
  await waitForDatabase(database, logger, stopping);

  const own = { id, url: status.url };
  await database.read((manager) => writeHeartbeat(manager, own));
  onStop('own row', () => database.read((manager) => markStopped(manager, id), { deadlineMs: 1000 }));
  const heartbeat = every({ name: 'heartbeat', intervalMs: conductorHeartbeatMs, logger }, () =>
    database.read((manager) => writeHeartbeat(manager, own), { deadlineMs: conductorHeartbeatMs }),
  );
  onStop('heartbeat', () => heartbeat.stop());

  const relay = createRelayClient({
    directory: createAgentDirectory({ findAgents: () => database.read(findLiveAgents) }),
    key: config.relayKey,
    logger,
    maxInFlight: 10_000,
  });
  onStop('relay client', async () => relay.close());
  const engine = startEngine({
    database,
    logger,
    relay,
    id,
    settings: { limits: config.limits, graceMs: config.rules.graceMs },
    observer: metrics.engine,
  });
  onStop('engine', () => {
    wakeRoute = undefined;
    return engine.stop();
  });
  const standing = every({ name: 'standing', intervalMs: standingMs, logger }, async () => {
    const run = { deadlineMs: standingMs };
    engine.setConductors((await database.read(findLiveConductors, run)).length);
    const depth = await database.read((manager) => countDueBoards(manager, queueCountedTo), run);
    for (const [lane, boards] of Object.entries(depth)) metrics.queueDepth.set({ lane }, boards);
    metrics.operationsInFlight.set(engine.inFlight());
    metrics.alarms.setOpen(await database.read(countOpenAlarms, run));
    metrics.setSinks(await database.read(findSinkStandings, run));
  });
  onStop('standing', () => standing.stop());
  const alarms = startAlarms({
    database,
    logger,
    feed: createOutboxFeed(),
    quotas: config.quotas,
    onBoards: (boards) => engine.wake(boards),
    observer: metrics.alarms.observer,
  });
  onStop('alarms', () => alarms.stop());
  const sinks = startSinks({
    database,
    logger,
    config: config.sinks,
    conductorId: id,
    observer: metrics.sinks,
  });
  onStop('sinks', () => sinks.stop());
  wakeRoute = createWakeRoute({
    key: config.relayKey,
    engine,
    onConsumers(consumers) {
      alarms.wake();
      sinks.wake(consumers);
    },
  });

  const sender = startSender({
    database,
    logger,
    webhooks: config.webhooks,
    settings: { disableAfterMs: config.webhooks.disableAfterMs },
    onAttempt: (outcome, seconds) => metrics.webhookAttempts.observe({ outcome }, seconds),
    onDisabled: () => metrics.webhooksDisabled.inc(),
  });
  onStop('webhooks', () => sender.stop());
  const scheduler = startScheduler({
    database,
    logger,
    conductorId: id,
    tasks: createTasks({
      rules: config.rules,
      metrics,
      artifacts: config.artifactDir === undefined ? undefined : createArtifactStore(config.artifactDir),
      onQueued: () => engine.wake(),
      onDeliveries: sender.wake,
      quotas: config.quotas,
      relay,
    }),
    onRun: metrics.recordRun,
  });
  onStop('scheduler', () => scheduler.stop());
  logger.info({ url: status.url }, 'ready');
});
