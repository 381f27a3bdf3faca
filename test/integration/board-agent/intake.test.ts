/** The agent as a process with the source `http`: killed under load, decided about, and its dead letters. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readStatus } from '../../../board-agent/commands/status.ts';
import { callAgent } from '../../../board-agent/control/client.ts';
import { boardProcedureUri } from '../../../common/wamp/uris.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

let router: TestCrossbar;
let server: StandIn;
let stateDir: string;
let boardUuid: string;
const children: ChildProcess[] = [];
const pool = new Agent({ keepAlive: true, maxSockets: 200 });

beforeAll(async () => {
  router = await startCrossbar();
  server = await startStandIn(router);
});

beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'boardwalk-intake-'));
  boardUuid = randomUUID();
  server.modules = { unknownDevices: 'create', createPerMinute: 1000, version: 'first', decisions: [] };
  const code = randomUUID();
  server.codes.set(code, { boardUuid });
  expect(await run(['enrol', '--url', router.url, '--code', code])).toMatchObject({ exitCode: 0 });
  configure();
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  server.readings.length = 0;
  server.moduleReports.length = 0;
  rmSync(stateDir, { recursive: true });
});

afterAll(async () => {
  pool.destroy();
  server?.stop();
  await router?.stop();
});

function configure(match = 'r'): void {
  const http = { kind: 'http', rules: [{ match, decoder: 'json' }], maxPerSecond: 10_000 };
  writeFileSync(join(stateDir, 'settings.json'), JSON.stringify({ sources: [http] }));
}

function start(args: string[]) {
  const child = spawn(join(repositoryRoot, 'bin/boardwalk-agent'), [...args, '--state', stateDir]);
  children.push(child);
  const ran = { exitCode: null as number | null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    ran.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    ran.stderr += chunk;
  });
  const ended = new Promise<typeof ran>((resolve) =>
    child.on('close', (exitCode) => resolve({ ...ran, exitCode })),
  );
  return { child, ended };
}

const run = (args: string[]) => start(args).ended;

/** Answer of the source; undefined when none came. */
function post(body: object, path = '/r'): Promise<{ outcome?: string } | undefined> {
  return new Promise((resolve) => {
    const sent = request(
      { socketPath: join(stateDir, 'http.sock'), path, method: 'POST', agent: pool },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('error', () => resolve(undefined));
        response.on('end', () => resolve(response.statusCode === 200 ? JSON.parse(text) : undefined));
      },
    );
    sent.on('error', () => resolve(undefined));
    sent.end(JSON.stringify(body));
  });
}

const isOnServer = (value: number) => server.readings.some((each) => each.value === value);
const listens = () => post({}, '/nowhere');

describe('the intake of a running agent', () => {
  it('has every acknowledged message once on the server, however often it is killed', async () => {
    let agent = start(['run']);
    await until('it listens', listens);
    const acknowledged = new Set<number>();
    let value = 0;
    let over = false;

    /** A device with its own numbers, that sends each message until it is acknowledged. */
    async function beDevice(name: string): Promise<void> {
      for (let seq = 1; !over; seq += 1) {
        value += 1;
        const body = { device: name, seq, data: { v: value } };
        const mine = value;
        for (;;) {
          const answer = await post(body);
          if (answer) break;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        acknowledged.add(mine);
      }
    }
    const devices = Array.from({ length: 150 }, (_, index) => beDevice(`d${index}`));
    for (let round = 0; round < 3; round += 1) {
      const before = acknowledged.size;
      await until('messages', () => acknowledged.size > before + 200 + 150 * Math.random());
      agent.child.kill('SIGKILL');
      await agent.ended;
      agent = start(['run']);
    }
    const before = acknowledged.size;
    await until('messages', () => acknowledged.size > before + 300);
    over = true;
    await Promise.all(devices);
    await until('all of them on the server', () => server.readings.length >= acknowledged.size, {
      timeoutMs: 20_000,
    });
    await until('nothing waits', () => readStatus(stateDir).status?.spool.waiting === 0);
    const values = server.readings.map((each) => Number(each.value));
    expect(values.length).toBe(acknowledged.size);
    expect(new Set(values)).toEqual(acknowledged);
  }, 90_000);

  it('holds a device until the server has decided, and tells what it heard', async () => {
    server.modules = { ...server.modules, unknownDevices: 'quarantine' };
    start(['run']);
    await until('it listens', listens);
    expect(await post({ device: 'n1', seq: 1, data: { v: 1 } })).toMatchObject({ outcome: 'held' });
    const reported = () =>
      server.moduleReports.flatMap((each) => each.request.modules).find((each) => each.name === 'n1');
    await until('a report', reported);
    expect(reported()).toMatchObject({ source: 'http', state: 'quarantined', lastSeq: null });
    server.modules = { ...server.modules, version: 'second', decisions: [{ name: 'n1', state: 'accepted' }] };
    const uri = boardProcedureUri(boardUuid, 'operation.modules');
    expect(await server.call(uri)).toEqual({ reported: expect.any(Number) });
    await until('the reading', () => server.readings.length === 1);
    expect(server.readings).toMatchObject([{ stream: 'n1/v', value: 1 }]);
    expect(await post({ device: 'n1', seq: 2, data: { v: 2 } })).toMatchObject({ outcome: 'stored' });
    await until('the next', () => isOnServer(2));
  });

  it('shows and replays dead letters, from afar, on the host, and with no agent running', async () => {
    const agent = start(['run']);
    await until('it listens', listens);
    await post({ device: 'n1', seq: 1, data: { v: 1 } }, '/other');
    await post({ device: 'n1', seq: 2, data: { v: 2 } }, '/other');
    const uri = boardProcedureUri(boardUuid, 'gateway.dead_letters');
    await until('online', () => server.hellos.some((each) => each.procedures.length > 0));
    const summary = { byReason: { unmatched: expect.any(Number) } };
    await until('a call goes through', () => server.call(uri).catch(() => undefined));
    expect(await server.call(uri)).toMatchObject({ summary });

    expect(statSync(join(stateDir, 'control.sock')).mode & 0o777).toBe(0o600);
    expect(await callAgent(stateDir, 'gateway.dead_letters', { limit: 1 })).toMatchObject({
      result: { summary },
    });
    await expect(callAgent(stateDir, 'operation.settings', {})).rejects.toMatchObject({
      code: 'not-authorized',
    });
    await expect(callAgent(stateDir, 'gateway.drop_dead_letters', {})).rejects.toMatchObject({
      code: 'invalid-arguments',
    });
    const listed = await run(['dead-letters', 'list', '--reason', 'unmatched', '--json']);
    const letters = JSON.parse(listed.stdout).letters as { id: number; path: string }[];
    const ids = letters.filter((each) => each.path === 'other').map((each) => String(each.id));
    expect(ids).toHaveLength(2);
    const shown = await run(['dead-letters', 'show', ids[0] ?? '', '--json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      path: 'other',
      payload: expect.stringContaining('"seq":1'),
    });
    expect((await run(['status'])).stdout).toMatch(/http +http: \d+ received = 0 stored/);
    expect((await run(['diagnose'])).stdout).toMatch(/dead letters .*no rule fits .*other \(2\)/);

    agent.child.kill('SIGTERM');
    await agent.ended;
    configure('other');
    expect(await run(['dead-letters', 'replay', ids[0] ?? ''])).toMatchObject({
      exitCode: 0,
      stdout: '1 stored, 0 duplicate, 0 held, 0 dead\n',
    });
    start(['run']);
    await until('the reading', () => isOnServer(1));
    expect((await run(['dead-letters', 'replay', '--reason', 'unmatched'])).stdout).toMatch(/^1 stored/);
    await until('the other', () => isOnServer(2));
    expect((await run(['dead-letters', 'drop', '--all'])).exitCode).toBe(0);
    expect((await run(['dead-letters', 'list'])).stdout).toBe('0 dead letters\n');
  }, 60_000);
});
