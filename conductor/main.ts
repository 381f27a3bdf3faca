/** The conductor process: owns time. It holds nothing in memory that another conductor would need. */
import { randomUUID } from 'node:crypto';
import { createDatabase, waitForDatabase } from '../common/db/database.ts';
import { every } from '../common/runtime/every.ts';
import { runProcess } from '../common/runtime/lifecycle.ts';
import { createLogger } from '../common/runtime/logger.ts';
import { readConfig } from './config.ts';
import { createMetrics } from './metrics.ts';
import { conductorHeartbeatMs, markStopped, writeHeartbeat } from './register.ts';
import { startScheduler } from './scheduler.ts';
import { startStatusServer } from './status-server.ts';
import { createTasks } from './tasks/all.ts';

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
    onRetry: (kind) => metrics.databaseRetries.inc({ kind }),
  });
  onStop('database', () => database.close());

  const status = await startStatusServer({
    host: config.host,
    port: config.port,
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

  const scheduler = startScheduler({
    database,
    logger,
    conductorId: id,
    tasks: createTasks(config.rules, metrics),
    onRun: metrics.recordRun,
  });
  onStop('scheduler', () => scheduler.stop());
  logger.info({ url: status.url }, 'ready');
});
