/**
 * The whole of Boardwalk for one test file: what `npm start` starts, with a home, ports and a
 * database of its own, and supervised in the same way, so that a killed part comes back.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '../../bin/stack/ports.ts';
import { startStack as start } from '../../bin/stack/stack.ts';
import { toolsDir } from './tools.ts';

export interface TestStack {
  apiUrl: string;
  wampUrl: string;
  databaseUrl: string;
  realm: string;
  home: string;
  admin: { username: string; password: string; apiKey: string; apiKeyId: string; tenant: string };
  /** In start order: mariadb, crossbar, api, api-2, …, conductor, wamp-agent, …, demo-gateway. */
  processes(): { name: string; pid: number }[];
  /** Signals one process by name; a supervised one that dies is started again. Gives back its pid. */
  kill(name: string, signal?: NodeJS.Signals): number;
  stop(): Promise<void>;
}

export interface TestStackOptions {
  agents?: number;
  apis?: number;
  conductors?: number;
  demo?: boolean;
  /** Further variables for api, wamp-agent and conductor. */
  env?: Record<string, string>;
}

/** Takes about 8 s: start it in beforeAll, once per file. */
export async function startStack(options: TestStackOptions = {}): Promise<TestStack> {
  const home = await mkdtemp(join(tmpdir(), 'boardwalk-stack-'));
  const [apiPort, wampPort, databasePort] = await Promise.all([
    findFreePort(),
    findFreePort(),
    findFreePort(),
  ]);
  const said: string[] = [];
  const cleanUp = () => rm(home, { recursive: true, force: true });
  try {
    const stack = await start(
      {
        home,
        toolsDir,
        apiPort,
        wampPort,
        databasePort,
        databaseUrl: undefined,
        demo: options.demo ?? false,
        agents: options.agents ?? 1,
        apis: options.apis ?? 1,
        conductors: options.conductors ?? 1,
        env: { BOARDWALK_LOG_LEVEL: 'info', ...options.env },
      },
      { say: (line) => said.push(line) },
    );
    const { apiUrl, wampUrl, realm, ...admin } = stack.admin;
    return {
      apiUrl,
      wampUrl,
      databaseUrl: stack.databaseUrl,
      realm,
      home,
      admin,
      processes: stack.processes,
      kill(name, signal = 'SIGKILL') {
        const found = stack.processes().find((each) => each.name === name);
        if (found === undefined)
          throw new Error(`no process ${name} is running: it may be between two lives`);
        process.kill(found.pid, signal);
        return found.pid;
      },
      async stop() {
        await stack.stop();
        await cleanUp();
      },
    };
  } catch (error) {
    await cleanUp();
    throw new Error(`the stack did not start; it said:\n${said.join('\n')}`, { cause: error });
  }
}
