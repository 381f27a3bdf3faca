/**
 * Many real board agents in one process, for load and fault tests: each has its own state folder,
 * journal, spool and session. Driven by its parent over IPC; ends with it, also when that is killed.
 */
import { type Agent, createAgent } from '../../../board-agent/agent.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import { findIdentity } from '../../../board-agent/state/identity.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import type { BoardsCommand, BoardsOutcome } from './messages.ts';

const agents = new Map<string, Agent>();
const logger = createLogger('boards', 'silent');

process.on('message', (command: BoardsCommand) => {
  run(command).then(
    (outcome) => process.send?.(outcome),
    (error: unknown) => process.send?.({ error: String((error as Error).stack ?? error) }),
  );
});
process.on('disconnect', () => process.exit());

async function run(command: BoardsCommand): Promise<BoardsOutcome> {
  switch (command.do) {
    case 'start':
      for (const stateDir of command.stateDirs) await start(stateDir, command.settings);
      return {};
    case 'stop':
      await Promise.all(command.stateDirs.map(stop));
      return {};
    case 'online':
      return {
        online: [...agents.values()].filter((each) => each.session.state().phase === 'online').length,
      };
  }
}

async function start(stateDir: string, settings: object): Promise<void> {
  if (agents.has(stateDir)) return;
  const identity = findIdentity(stateDir);
  if (!identity) throw new Error(`${stateDir} holds no identity`);
  const agent = createAgent({ stateDir, identity, settings: parseSettings(settings), logger });
  agents.set(stateDir, agent);
  await agent.start();
}

async function stop(stateDir: string): Promise<void> {
  const agent = agents.get(stateDir);
  agents.delete(stateDir);
  await agent?.stop();
}
