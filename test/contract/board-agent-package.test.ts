import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gatewayEnv, installPackedAgent, type PackedAgent } from '../harness/packed-agent.ts';
import { repositoryRoot } from '../harness/tools.ts';

const run = promisify(execFile);
const workspace = join(repositoryRoot, 'board-agent');

let dir: string;
let agent: PackedAgent;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-package-'));
  agent = await installPackedAgent(dir);
}, 120_000);

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('the packed board agent', () => {
  it('runs alone in an empty folder', async () => {
    const { stdout } = await run(agent.program, ['--help'], { env: gatewayEnv });
    for (const command of ['enrol', 'run', 'status', 'diagnose']) expect(stdout).toContain(command);
    const { version } = JSON.parse(readFileSync(join(workspace, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect((await run(agent.program, ['--version'], { env: gatewayEnv })).stdout.trim()).toBe(version);
  });

  it('carries JavaScript, the settings schema, the unit and the README, and nothing of the servers', () => {
    const root = join(agent.folder, 'node_modules/boardwalk-agent');
    for (const file of [
      'README.md',
      'settings.schema.json',
      'dist/boardwalk-agent.service',
      'dist/common/wamp/uris.js',
      'dist/common/operations/schedule-times.js',
    ])
      expect({ file, there: existsSync(join(root, file)) }).toEqual({ file, there: true });
    for (const path of ['main.ts', 'dist/common/db', 'dist/test'])
      expect({ path, there: existsSync(join(root, path)) }).toEqual({ path, there: false });
    const modules = ['express', 'typeorm', 'mysql2'].filter((name) =>
      existsSync(join(agent.folder, 'node_modules', name)),
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
});
