/** A real board agent for tests: registered through the API, enrolled and run as its own process. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ApiClient, createApiClient } from '../../bin/stack/api-client.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TestStack } from './stack.ts';
import { until } from './until.ts';

const program = join(import.meta.dirname, '../../bin/boardwalk-agent');

export interface TestBoard {
  uuid: string;
  name: string;
  /** The agent's state folder. */
  state: string;
  /** Starts `boardwalk-agent run`; resolves when the API says online. */
  start(): Promise<void>;
  /** Signals the running agent and waits for its end. */
  end(signal: NodeJS.Signals): Promise<void>;
  pid(): number | undefined;
  /** The board as the API shows it. */
  show(): Promise<JsonObject>;
}

export interface TestBoardOptions {
  name: string;
  /** Router URL for the enrolment; default the stack's own. */
  url?: string;
  /** Content of the agent's settings file. */
  settings?: JsonObject;
  tenant?: string;
}

/** A client of the stack's API with the key of its tenant `demo`. */
export function clientOf(stack: TestStack, timeoutMs = 30_000): ApiClient {
  return createApiClient(stack.apiUrl, stack.admin.apiKey, timeoutMs);
}

export async function enrolBoard(stack: TestStack, options: TestBoardOptions): Promise<TestBoard> {
  const api = clientOf(stack);
  const { name } = options;
  const created = await api.request('POST', '/v1/boards', {
    name,
    ...(options.tenant && { tenant: options.tenant }),
  });
  const uuid = String(created.uuid);
  const state = join(stack.home, 'boards', name);
  await mkdir(state, { recursive: true, mode: 0o700 });
  if (options.settings) await writeFile(join(state, 'settings.json'), JSON.stringify(options.settings));
  await runAgent(
    ['enrol', '--state', state, '--url', options.url ?? stack.wampUrl, '--code', '-'],
    codeOf(created),
  );

  let child: ChildProcess | undefined;
  return {
    uuid,
    name,
    state,
    async start() {
      const log = await open(join(state, 'agent.log'), 'a');
      child = spawn(program, ['run', '--state', state], {
        stdio: ['ignore', log.fd, log.fd],
        env: agentEnv(),
      });
      await log.close();
      await until(
        `board ${name} is online`,
        async () => (await api.request('GET', `/v1/boards/${uuid}`)).status === 'online',
        {
          timeoutMs: 30_000,
        },
      );
    },
    async end(signal) {
      const ending = child;
      child = undefined;
      if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
      const ended = new Promise<void>((resolve) => void ending.once('exit', () => resolve()));
      ending.kill(signal);
      await ended;
    },
    pid: () => child?.pid,
    show: () => api.request('GET', `/v1/boards/${uuid}`),
  };
}

/** Runs a command of the agent to its end; throws with what it printed when it fails. */
export async function runAgent(args: string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const running = execFile(program, args, { env: agentEnv(), timeout: 60_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`boardwalk-agent ${args[0]} failed: ${stdout}${stderr}`, { cause: error }));
      else resolve(stdout);
    });
    running.stdin?.end(input);
  });
}

export function codeOf(board: JsonObject): string {
  const code = (board.enrolmentCode as JsonObject | undefined)?.code ?? board.code;
  if (typeof code !== 'string') throw new Error('the answer holds no enrolment code');
  return code;
}

function agentEnv(): NodeJS.ProcessEnv {
  return { ...process.env, BOARDWALK_AGENT_LOG_LEVEL: 'info' };
}
