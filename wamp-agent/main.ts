import { runProcess } from '../common/runtime/lifecycle.ts';
import { createLogger } from '../common/runtime/logger.ts';
import { startAgent } from './agent.ts';
import { readConfig } from './config.ts';

const logger = createLogger('wamp-agent', 'info');

await runProcess(logger, async (lifecycle) => {
  const config = readConfig(process.env);
  await startAgent(config, createLogger('wamp-agent', config.logLevel), lifecycle);
});
