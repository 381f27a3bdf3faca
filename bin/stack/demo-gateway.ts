/** One gateway with live readings: enrolled through the API once, run by the real board agent. */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asObject, asString } from '../../common/runtime/guards.ts';
import { run } from '../setup/exec.ts';
import type { ApiClient } from './api-client.ts';
import { readJsonFile } from './private-files.ts';
import { childEnv } from './servers.ts';
import { repositoryRoot } from './settings.ts';
import type { Part } from './supervisor.ts';

export const demoBoardName = 'demo-gateway';

export interface DemoOptions {
  home: string;
  wampUrl: string;
  tenant: string;
  /** A client that may create boards in the tenant. */
  api: ApiClient;
  signal?: AbortSignal;
}

const program = join(repositoryRoot, 'bin/boardwalk-agent');
const settings = join(import.meta.dirname, 'demo-settings.json');
const boardPath = `/v1/boards/${demoBoardName}`;

/** Creates and enrols the board at the first call; gives the part that runs it. */
export async function createDemoPart(options: DemoOptions): Promise<Part> {
  const { home, wampUrl, tenant, api } = options;
  const state = join(home, 'demo-board');
  const env = agentEnv();
  const board = await api.find(boardPath);
  if (board === undefined || board.uuid !== (await enrolledUuid(state))) {
    // The state of another installation's board is of no use for this one.
    await rm(state, { recursive: true, force: true });
    await mkdir(state, { recursive: true, mode: 0o700 });
    const code = board === undefined ? await createBoard(api, tenant) : await renewCode(api);
    await run(program, ['enrol', '--state', state, '--url', wampUrl, '--code', '-'], {
      env,
      input: `${code}\n`,
      ...(options.signal ? { signal: options.signal } : {}),
    });
  }
  // Once: who plays with it keeps the changes.
  const own = join(state, 'settings.json');
  if (!existsSync(own)) await copyFile(settings, own);
  return {
    name: demoBoardName,
    command: program,
    args: ['run', '--state', state],
    env,
    ready: async () => {
      const { status } = await api.request('GET', boardPath);
      if (status !== 'online') throw new Error(`the board is ${String(status)}`);
    },
  };
}

/** Which board the state folder's identity is for. */
async function enrolledUuid(state: string): Promise<unknown> {
  const identity = await readJsonFile(join(state, 'identity.json'));
  return identity === undefined ? undefined : asObject(identity, 'identity.json').boardUuid;
}

async function createBoard(api: ApiClient, tenant: string): Promise<string> {
  const board = await api.request('POST', '/v1/boards', { name: demoBoardName, tenant, type: 'gateway' });
  return codeOf(board.enrolmentCode);
}

async function renewCode(api: ApiClient): Promise<string> {
  return codeOf(await api.request('POST', `${boardPath}/enrolment-code`));
}

function codeOf(value: unknown): string {
  return asString(asObject(value, 'enrolmentCode').code, 'code', { max: 200 });
}

/** The agent is a shell script that looks for `node`: ours, whatever the caller's PATH says. */
function agentEnv(): NodeJS.ProcessEnv {
  return childEnv({ PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}` });
}
