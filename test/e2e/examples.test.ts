/** The examples as a service's author would run them: own processes, a key of their own, a real board. */
import { execFile, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiClient } from '../../bin/stack/api-client.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { repositoryRoot, testTools } from '../harness/tools.ts';
import { until } from '../harness/until.ts';

describe('the example services', () => {
  let stack: TestStack;
  let board: TestBoard;
  let python: string;
  let env: NodeJS.ProcessEnv;

  beforeAll(async () => {
    stack = await startStack({ env: { BOARDWALK_BATCH_INTERVAL_MS: '500' } });
    python = (await testTools()).crossbar.python;
    const settings = {
      sources: [
        { kind: 'simulated', module: 'sim', streams: [{ name: 'count', waveform: 'counter', rateHz: 10 }] },
      ],
    };
    board = await enrolBoard(stack, { name: 'example-board', settings });
    await board.start();
    const { username, password } = stack.admin;
    const { token } = await createApiClient(stack.apiUrl).request('POST', '/v1/auth/login', {
      username,
      password,
    });
    const key = await createApiClient(stack.apiUrl, String(token)).request(
      'POST',
      `/v1/tenants/${stack.admin.tenant}/api-keys`,
      {
        name: 'example-service',
        role: 'manager_iot_project',
        boards: ['example-board'],
        procedures: ['ping', 'echo'],
      },
    );
    const keyFile = join(stack.home, 'example.key');
    await writeFile(keyFile, `${String(key.key)}\n`, { mode: 0o600 });
    env = {
      ...process.env,
      BOARDWALK_API_KEY_FILE: keyFile,
      BOARDWALK_API_URL: stack.apiUrl,
      BOARDWALK_WAMP_URL: stack.wampUrl,
      BOARDWALK_TENANT: String((await board.show()).tenant),
    };
  });
  afterAll(async () => {
    await board?.end('SIGTERM');
    await stack?.stop();
  });

  const example = (path: string) => join(repositoryRoot, 'examples', path);
  const wampExamples = [
    ['Python', () => [python, example('python/call_board.py')]],
    ['Node', () => [process.execPath, example('node/call-board.mjs')]],
  ] as const;

  it.each(wampExamples)('in %s calls the board and gets its readings over WAMP', async (_name, command) => {
    const [program = '', ...args] = command();
    const child = spawn(program, [...args, board.uuid, '60'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    try {
      const lines: Record<string, Record<string, unknown>>[] = [];
      createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line)));
      const ping = await until('the answer', () => lines.find((line) => line.ping || line.error), {
        timeoutMs: 30_000,
      });
      expect(ping).toEqual({ ping: expect.any(Object) });
      const { readings } = await until('readings', () => lines.find((line) => line.readings), {
        timeoutMs: 30_000,
      });
      expect(readings).toMatchObject({
        readings: expect.arrayContaining([expect.objectContaining({ stream: 'sim/count', type: 'number' })]),
      });
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
  });

  it.each(wampExamples)('in %s says why it is refused', async (_name, command) => {
    const [program = '', ...args] = command();
    const wrong = {
      ...env,
      BOARDWALK_API_KEY: `bw_${'0'.repeat(32)}_wrong`,
      BOARDWALK_API_KEY_FILE: undefined,
    };
    const { code, stdout, stderr } = await run(program, [...args, board.uuid, '1'], wrong);
    expect(code).toBe(1);
    expect(stderr).toContain('this key is not valid');
    expect(stdout).toBe('');
  });

  it('in shell prints the answer', async () => {
    const { code, stdout } = await run(
      example('shell/call-board.sh'),
      ['example-board', 'echo', '{"message": "hi"}'],
      env,
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ result: { message: 'hi' }, durationMs: expect.any(Number) });
  });

  it('in shell prints why there is none', async () => {
    const { code, stdout } = await run(example('shell/call-board.sh'), ['example-board', 'info'], env);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ status: 403, code: 'forbidden' });
  });

  it('take no secret as argument', async () => {
    const { code, stderr } = await run(example('shell/call-board.sh'), [], env);
    expect(code).toBe(64);
    expect(stderr).toContain('BOARDWALK_API_KEY_FILE');
  });
});

function run(program: string, args: string[], env: NodeJS.ProcessEnv) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(program, args, { env, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  });
}
