/** The conductor process: owns time. It holds nothing in memory that another conductor would need. */
import { randomUUID } from 'node:crypto';
import { createArtifactStore } from '../common/artifacts/store.ts';
import { createDatabase, waitForDatabase } from '../common/db/database.ts';
import { findLiveAgents } from '../common/db/queries/wamp-agents.ts';
import { createAgentDirectory } from '../common/relay/agent-directory.ts';
import { createRelayClient } from '../common/relay/relay-client.ts';
import { runProcess } from '../common/runtime/lifecycle.ts';
import { createLogger } from '../common/runtime/logger.ts';
import { startAlarms } from './alarms/alarms.ts';
import { createOutboxFeed } from './alarms/outbox-feed.ts';
import { readConfig } from './config.ts';
import { startEngine } from './engine/engine.ts';
import { startFigures } from './figures.ts';
import { createMetrics, observeAlarms, observeEngine, observeSinks } from './metrics.ts';
import { keepOwnRow } from './register.ts';
import { startScheduler } from './scheduler.ts';
import { startSinks } from './sinks/sinks.ts';
import { startStatusServer } from './status-server.ts';
import { createTasks } from './tasks/all.ts';
import { createWakeRoute, type WakeRoute } from './wake-route.ts';
import { startSender } from './webhooks/sender.ts';

const bootLogger = createLogger('conductor', 'info');

await runProcess(bootLogger, async ({ onStop, stopping }) => {
  const config = readConfig(process.env);
  const id = randomUUID();
  const logger = createLogger('conductor', config.logLevel).child({ conductor: id });
  const metrics = createMetrics();
  const { quotas, rules } = config;
  const database = createDatabase({
    url: config.databaseUrl,
    logger,
    queryTimeoutMs: 120_000,
    poolSize: 20,
    onRetry: (kind) => metrics.databaseRetries.inc({ kind }),
  });
  onStop('database', () => database.close());

  let wakeRoute: WakeRoute | undefined;
  const { registry } = metrics;
  const status = await startStatusServer({
    host: config.host,
    port: config.port,
    wake: () => wakeRoute,
    checkReady: () => database.read((manager) => manager.query('SELECT 1'), { deadlineMs: 0 }),
    metrics: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  });
  onStop('status server', () => status.close());
  await waitForDatabase(database, logger, stopping);
  await keepOwnRow({ id, url: status.url }, { database, logger, onStop });

  // What boards have to do.
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
    settings: { limits: config.limits, graceMs: rules.graceMs },
    observer: observeEngine(metrics),
  });
  onStop('engine', () => {
    wakeRoute = undefined;
    return engine.stop();
  });
  const figures = startFigures({ database, engine, metrics, logger });
  onStop('figures', () => figures.stop());

  // What becomes of readings.
  const alarms = startAlarms({
    database,
    logger,
    feed: createOutboxFeed(),
    quotas,
    onBoards: (boards) => engine.wake(boards),
    observer: observeAlarms(metrics),
  });
  onStop('alarms', () => alarms.stop());
  const sinks = startSinks({
    database,
    logger,
    config: config.sinks,
    conductorId: id,
    observer: observeSinks(metrics),
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

  // What is told, and what comes round.
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
      rules,
      metrics,
      artifacts: config.artifactDir === undefined ? undefined : createArtifactStore(config.artifactDir),
      onQueued: () => engine.wake(),
      onDeliveries: sender.wake,
      quotas,
      relay,
    }),
    onRun: ({ task, outcome, seconds }) => metrics.taskSeconds.observe({ task, outcome }, seconds),
  });
  onStop('scheduler', () => scheduler.stop());
  logger.info({ url: status.url }, 'ready');
});
