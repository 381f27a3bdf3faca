/** A gateway of a stack's own: enrolled through the API once, run by the real board agent. */
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asObject, asString } from '../../common/runtime/guards.ts';
import { run } from '../setup/exec.ts';
import type { ApiClient } from './api-client.ts';
import { readJsonFile } from './private-files.ts';
import { childEnv } from './servers.ts';
import { repositoryRoot } from './settings.ts';
import type { Part } from './supervisor.ts';

export interface GatewayOptions {
  /** Of the board, and of the part. */
  name: string;
  /** The agent's state folder. */
  state: string;
  wampUrl: string;
  tenant: string;
  /** A client that may create boards in the tenant. */
  api: ApiClient;
  /** Puts the agent's settings into the folder, after it was made. */
  writeSettings(state: string): Promise<void>;
  signal?: AbortSignal;
}

const program = join(repositoryRoot, 'bin/boardwalk-agent');

/** Creates and enrols the board at the first call; gives the part that runs it. */
export async function createGatewayPart(options: GatewayOptions): Promise<Part> {
  const { name, state, wampUrl, api } = options;
  const path = `/v1/boards/${name}`;
  const env = agentEnv();
  const board = await api.find(path);
  if (board === undefined || board.uuid !== (await enrolledUuid(state))) {
    // The state of another installation's board is of no use for this one.
    await rm(state, { recursive: true, force: true });
    await mkdir(state, { recursive: true, mode: 0o700 });
    const code = board === undefined ? await createBoard(options) : await renewCode(api, path);
    await run(program, ['enrol', '--state', state, '--url', wampUrl, '--code', '-'], {
      env,
      input: `${code}\n`,
      ...(options.signal ? { signal: options.signal } : {}),
    });
  }
  await options.writeSettings(state);
  return {
    name,
    command: program,
    args: ['run', '--state', state],
    env,
    ready: async () => {
      const { status } = await api.request('GET', path);
      if (status !== 'online') throw new Error(`the board is ${String(status)}`);
    },
  };
}

/** Which board the state folder's identity is for. */
async function enrolledUuid(state: string): Promise<unknown> {
  const identity = await readJsonFile(join(state, 'identity.json'));
  return identity === undefined ? undefined : asObject(identity, 'identity.json').boardUuid;
}

async function createBoard({ api, name, tenant }: GatewayOptions): Promise<string> {
  const board = await api.request('POST', '/v1/boards', { name, tenant, type: 'gateway' });
  return codeOf(board.enrolmentCode);
}

async function renewCode(api: ApiClient, path: string): Promise<string> {
  return codeOf(await api.request('POST', `${path}/enrolment-code`));
}

function codeOf(value: unknown): string {
  return asString(asObject(value, 'enrolmentCode').code, 'code', { max: 200 });
}

/** The agent is a shell script that looks for `node`: ours, whatever the caller's PATH says. */
function agentEnv(): NodeJS.ProcessEnv {
  return childEnv({ PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}` });
}
