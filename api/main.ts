/** `node api/main.ts`: the HTTP API as a process. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createDatabase, waitForDatabase } from '../common/db/database.ts';
import { runProcess } from '../common/runtime/lifecycle.ts';
import { createLogger, type LogLevel, logLevels } from '../common/runtime/logger.ts';
import { createApp } from './app.ts';
import { loadApiConfig } from './config.ts';
import { createApiMetrics } from './http/metrics.ts';
import { createApiServer } from './http/server.ts';

const level =
  logLevels.find((each) => each === process.env.BOARDWALK_LOG_LEVEL) ?? ('info' satisfies LogLevel);
const logger = createLogger('api', level);

/** For requests under way; well below what a process may take to stop. */
const drainMs = 6000;

await runProcess(logger, async (lifecycle) => {
  const config = loadApiConfig(process.env);
  const metrics = createApiMetrics();
  const database = createDatabase({
    url: config.databaseUrl,
    logger,
    queryTimeoutMs: 10_000,
    onRetry: (kind) => metrics.databaseRetries.inc({ kind }),
  });
  lifecycle.onStop('database', () => database.close());
  await waitForDatabase(database, logger, lifecycle.stopping);

  const { stopping, onStop } = lifecycle;
  const app = await createApp({ config, database, logger, metrics, stopping, onStop });
  const server = createApiServer(app);
  lifecycle.onStop('http server', async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeIdleConnections();
    // A client that never ends its request must not keep the steps behind this one from running.
    const timer = setTimeout(() => server.closeAllConnections(), drainMs);
    await closed;
    clearTimeout(timer);
  });
  server.listen(config.port, config.host);
  await once(server, 'listening');
  const { address, port } = server.address() as AddressInfo;
  logger.info({ address, port }, 'listening');
});
