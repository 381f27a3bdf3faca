/** A real router of its own for a test file. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentSocketPath, createCrossbarPart } from '../../bin/stack/crossbar.ts';
import { findFreePort } from '../../bin/stack/ports.ts';
import { createSupervisor } from '../../bin/stack/supervisor.ts';
import { testTools } from './tools.ts';

export interface TestCrossbar {
  port: number;
  /** Where boards and services connect. */
  url: string;
  realm: string;
  /** For BOARDWALK_ROUTER_SOCKET and BOARDWALK_AGENT_TICKET. */
  agentSocket: string;
  agentTicket: string;
  /** Kills the router; it is started again by itself, like in the stack. */
  kill(signal?: NodeJS.Signals): void;
  stop(): Promise<void>;
}

/** Takes 5-7 s: start it in beforeAll, once per file. */
export async function startCrossbar(): Promise<TestCrossbar> {
  const { crossbar: tools } = await testTools();
  const dir = await mkdtemp(join(tmpdir(), 'boardwalk-router-'));
  const port = await findFreePort();
  const realm = 's4t';
  const agentTicket = randomBytes(24).toString('hex');
  const supervisor = createSupervisor({ logDir: dir });
  const stop = async () => {
    await supervisor.stop();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await supervisor.start(await createCrossbarPart({ tools, dir, port, realm, agentTicket }));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    url: `ws://127.0.0.1:${port}/`,
    realm,
    agentSocket: await agentSocketPath(dir),
    agentTicket,
    kill(signal = 'SIGKILL') {
      const [router] = supervisor.processes();
      if (router === undefined) throw new Error('the router is between two lives');
      process.kill(router.pid, signal);
    },
    stop,
  };
}
