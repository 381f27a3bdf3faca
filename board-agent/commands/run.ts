/** `boardwalk-agent run`: the boot order, top to bottom. */
import { setFlagsFromString } from 'node:v8';
import { AppError } from '../../common/runtime/app-error.ts';
import { runProcess } from '../../common/runtime/lifecycle.ts';
import { createLogger, type LogLevel, logLevels } from '../../common/runtime/logger.ts';
import { createAgent } from '../agent.ts';
import { loadSettings } from '../settings.ts';
import { findIdentity, findModeFaults } from '../state/identity.ts';
import { acquireLock } from '../state/instance-lock.ts';
import { agentVersion } from '../version.ts';

export interface RunOptions {
  stateDir: string;
  settingsPath?: string;
}

export async function run({ stateDir, settingsPath }: RunOptions): Promise<void> {
  const level = logLevels.find((each) => each === process.env.BOARDWALK_AGENT_LOG_LEVEL);
  const startLogger = createLogger('board-agent', level ?? 'info');
  await runProcess(startLogger, async (lifecycle) => {
    const settings = await loadSettings(stateDir, settingsPath);
    const logger = withLevel(level ?? settings.logLevel) ?? startLogger;

    const identity = findIdentity(stateDir);
    if (!identity) throw new AppError('not-found', `${stateDir} holds no identity: run 'enrol' first`);
    for (const fault of findModeFaults(stateDir))
      logger.warn({ fault }, 'identity.json is not well protected');

    // Held until the process ends: the lock is gone with the object.
    const lock = acquireLock(stateDir, 'agent');
    lifecycle.onStop('lock', () => lock.release());

    // Messages cost our own code, not SQLite: compiled it takes half as much (docs/performance.md).
    if (settings.sources.some((each) => each.name !== undefined))
      for (const flag of ['--maglev', '--opt']) setFlagsFromString(flag);
    const agent = createAgent({ stateDir, identity, settings, logger });
    lifecycle.onStop('agent', () => agent.stop());
    await agent.start();
    logger.info({ boardUuid: identity.boardUuid, agentVersion }, 'started');
  });
}

function withLevel(level: LogLevel | undefined) {
  return level && createLogger('board-agent', level);
}
