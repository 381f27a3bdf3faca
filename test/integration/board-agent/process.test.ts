import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readStatus } from '../../../board-agent/commands/status.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

interface Ran {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

let router: TestCrossbar;
let server: StandIn;
let stateDir: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  router = await startCrossbar();
  server = await startStandIn(router);
});

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'boardwalk-board-'));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  server.readings.length = 0;
  server.gaps.length = 0;
  rmSync(stateDir, { recursive: true });
});

afterAll(async () => {
  server?.stop();
  await router?.stop();
});

function start(args: string[], input = ''): { child: ChildProcess; ended: Promise<Ran> } {
  const child = spawn(join(repositoryRoot, 'bin/boardwalk-agent'), [...args, '--state', stateDir]);
  children.push(child);
  const ran: Ran = { exitCode: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    ran.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    ran.stderr += chunk;
  });
  child.stdin.end(input);
  const ended = new Promise<Ran>((resolve) => child.on('close', (exitCode) => resolve({ ...ran, exitCode })));
  return { child, ended };
}

async function enrolled(): Promise<void> {
  const code = randomUUID();
  server.codes.set(code, { boardUuid: randomUUID() });
  const { exitCode, stdout } = await start(['enrol', '--url', router.url, '--code', '-'], `${code}\n`).ended;
  expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('Enrolled') });
}

const isOnline = () => readStatus(stateDir).exitCode === 0;

describe('the agent as a process', () => {
  it('says why an enrolment was refused in one sentence and exits 1', async () => {
    const ran = await start(['enrol', '--url', router.url, '--code-file', '-'], 'no-such-code').ended;
    expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
    expect(ran.stderr).toBe(
      'The server does not know this enrolment code: check it, or ask for a new one.\n',
    );
  });

  it('runs until SIGTERM, logs JSON only, leaves the realm, and exits 0', async () => {
    await enrolled();
    const { child, ended } = start(['run']);
    await until('online', isOnline);
    const startedAt = performance.now();
    child.kill('SIGTERM');
    const ran = await ended;
    expect(performance.now() - startedAt).toBeLessThan(5000);
    expect(ran).toMatchObject({ exitCode: 0, stderr: '' });
    for (const line of ran.stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('msg');
    expect(readStatus(stateDir)).toMatchObject({ running: false, exitCode: 3 });
  });

  it('exits in time when the router cannot be reached', async () => {
    await enrolled();
    const path = join(stateDir, 'identity.json');
    const identity = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...identity, routerUrls: ['ws://127.0.0.1:1/'] }));
    const { child, ended } = start(['run']);
    await until('it has tried', () => readStatus(stateDir).status?.session.lastFailure);
    child.kill('SIGTERM');
    expect((await ended).exitCode).toBe(0);
  });

  it('refuses to run twice on one state folder', async () => {
    await enrolled();
    const { child } = start(['run']);
    await until('online', isOnline);
    const second = await start(['run']).ended;
    expect(second.exitCode).toBe(1);
    expect(second.stdout).toContain(`pid ${child.pid}`);
  });

  it('exits 78 with every fault of the settings', async () => {
    await enrolled();
    writeFileSync(
      join(stateDir, 'settings.yaml'),
      'logLevel: loud\nspool: { maxBytes: 1 }\nsources: []\nx: 1\n',
    );
    const { exitCode, stdout } = await start(['run']).ended;
    expect(exitCode).toBe(78);
    for (const pointer of ['/logLevel', '/spool/maxBytes', '/x']) expect(stdout).toContain(pointer);
  });

  it('loses nothing and stores nothing twice when it is killed again and again', async () => {
    await enrolled();
    const settings = {
      spool: { commitIntervalMs: 20 },
      sources: [{ kind: 'simulated', streams: [{ name: 'n', waveform: 'counter', rateHz: 100 }] }],
    };
    writeFileSync(join(stateDir, 'settings.json'), JSON.stringify(settings));
    for (let round = 0; round < 3; round += 1) {
      const before = server.readings.length;
      const { child, ended } = start(['run']);
      await until('readings', () => server.readings.length > before + 30);
      child.kill('SIGKILL');
      await ended;
    }
    const { child, ended } = start(['run']);
    await until('all sent', () => isOnline() && readStatus(stateDir).status?.lastAckAt);
    child.kill('SIGTERM');
    await ended;
    const seqs = server.readings.map((each) => each.seq);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    expect(new Set(server.readings.map((each) => each.epoch)).size).toBe(1);
    expect(server.gaps).toEqual([]);
  });
});
