/** A gateway's first minutes: the tarball in an empty folder, a code, and online on the real stack. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { gatewayEnv, installPackedAgent, type PackedAgent } from '../harness/packed-agent.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { clientOf, codeOf } from '../harness/test-board.ts';
import { until } from '../harness/until.ts';

let dir: string;
let agent: PackedAgent;
let stack: TestStack;
let child: ChildProcess | undefined;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-packed-'));
  agent = await installPackedAgent(dir);
  stack = await startStack();
}, 180_000);

afterAll(async () => {
  child?.kill('SIGKILL');
  await stack?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

/** Runs a command of the installed agent to its end. */
function runToEnd(args: string[], input: string): Promise<{ exitCode: number | null; output: string }> {
  return new Promise((resolve) => {
    const running = spawn(agent.program, args, { env: gatewayEnv, stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    running.stdout.on('data', (chunk) => (output += chunk));
    running.stderr.on('data', (chunk) => (output += chunk));
    running.on('close', (exitCode) => resolve({ exitCode, output }));
    running.stdin.end(input);
  });
}

it('enrols with its code once, answers, measures, stays within 80 MB, and leaves on SIGTERM', async () => {
  const api = clientOf(stack);
  const created = await api.request('POST', '/v1/boards', { name: 'packed' });
  const enrol = (state: string) =>
    runToEnd(['enrol', '--url', stack.wampUrl, '--state', join(dir, state), '--code', '-'], codeOf(created));
  expect(await enrol('state')).toMatchObject({ exitCode: 0 });
  const again = await enrol('stolen');
  expect(again.exitCode).toBe(1);
  expect(again.output).toMatch(/used/);

  child = spawn(agent.program, ['run', '--state', join(dir, 'state')], { env: gatewayEnv, stdio: 'ignore' });
  const ended = new Promise((resolve) => child?.on('close', resolve));
  await until('online', async () => (await api.request('GET', '/v1/boards/packed')).status === 'online', {
    timeoutMs: 30_000,
  });
  await api.request('POST', '/v1/boards/packed/rpc/ping', {});
  await until(
    'readings in the database',
    async () => ((await api.request('GET', '/v1/boards/packed/streams')).items as unknown[]).length > 0,
    { timeoutMs: 30_000 },
  );
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  expect(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1000).toBeLessThanOrEqual(80);
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
}, 120_000);
