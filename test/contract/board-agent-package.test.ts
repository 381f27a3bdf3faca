import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startCrossbar, type TestCrossbar } from '../harness/crossbar.ts';
import { repositoryRoot } from '../harness/tools.ts';
import { until } from '../harness/until.ts';
import { type StandIn, startStandIn } from '../integration/board-agent/stand-in.ts';

const run = promisify(execFile);
const workspace = join(repositoryRoot, 'board-agent');
/** Where npm scripts find this project's Node first; a gateway has it as /usr/bin/node. */
const env = { ...process.env, PATH: `${join(repositoryRoot, 'node_modules/.bin')}:${process.env.PATH}` };

let dir: string;
let installed: string;
let agent: string;
let router: TestCrossbar | undefined;
let server: StandIn | undefined;
let child: ChildProcess | undefined;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-package-'));
  await run('npm', ['run', '--silent', 'build'], { cwd: workspace, env });
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', dir], { cwd: workspace, env });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  installed = join(dir, 'gateway');
  mkdirSync(installed);
  writeFileSync(join(installed, 'package.json'), '{"private":true}');
  copyFileSync(join(repositoryRoot, '.npmrc'), join(installed, '.npmrc'));
  await run('npm', ['install', '--prefer-offline', join(dir, filename)], { cwd: installed, env });
  agent = join(installed, 'node_modules/.bin/boardwalk-agent');
}, 120_000);

afterAll(async () => {
  child?.kill('SIGKILL');
  server?.stop();
  await router?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

describe('the packed board agent', () => {
  it('runs alone in an empty folder', async () => {
    const { stdout } = await run(agent, ['--help'], { env });
    for (const command of ['enrol', 'run', 'status', 'diagnose']) expect(stdout).toContain(command);
    const { version } = JSON.parse(readFileSync(join(workspace, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect((await run(agent, ['--version'], { env })).stdout.trim()).toBe(version);
  });

  it('carries JavaScript, the settings schema, the unit and the README, and nothing of the servers', () => {
    const root = join(installed, 'node_modules/boardwalk-agent');
    for (const file of [
      'README.md',
      'settings.schema.json',
      'dist/boardwalk-agent.service',
      'dist/common/wamp/uris.js',
    ])
      expect({ file, there: existsSync(join(root, file)) }).toEqual({ file, there: true });
    for (const path of ['main.ts', 'dist/common/db', 'dist/test'])
      expect({ path, there: existsSync(join(root, path)) }).toEqual({ path, there: false });
    const modules = ['express', 'typeorm', 'mysql2'].filter((name) =>
      existsSync(join(installed, 'node_modules', name)),
    );
    expect(modules).toEqual([]);
  });

  it('depends on the versions that the repository is tested with', () => {
    const read = (path: string) =>
      (JSON.parse(readFileSync(path, 'utf8')) as { dependencies: Record<string, string> }).dependencies;
    const root = read(join(repositoryRoot, 'package.json'));
    const own = read(join(workspace, 'package.json'));
    for (const [name, version] of Object.entries(own))
      expect({ name, version }).toEqual({ name, version: root[name] });
  });

  it('enrols, comes online within 80 MB of memory, and leaves on SIGTERM', { timeout: 90_000 }, async () => {
    router = await startCrossbar();
    server = await startStandIn(router);
    const boardUuid = randomUUID();
    server.codes.set('a-code', { boardUuid });
    const state = join(dir, 'state');
    writeFileSync(join(dir, 'code'), 'a-code\n');
    const flags = ['--url', router.url, '--code-file', join(dir, 'code'), '--state', state];
    expect((await run(agent, ['enrol', ...flags], { env })).stdout).toContain(boardUuid);

    child = spawn(agent, ['run', '--state', state], { env, stdio: 'ignore' });
    const ended = new Promise((resolve) => child?.on('close', resolve));
    await until('readings', () => server?.readings.length, { timeoutMs: 20_000 });
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    const residentMb = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1000;
    expect(residentMb).toBeLessThanOrEqual(80);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
});
