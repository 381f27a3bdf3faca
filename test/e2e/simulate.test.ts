/** `boardwalk-agent simulate` from the outside, at a whole stack: sent, acknowledged and stored are equal. */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findFreePort } from '../../bin/stack/ports.ts';
import type { RunResult } from '../../board-agent/simulate/run.ts';
import { type FaultyProxy, startFaultyProxy } from '../harness/faulty-proxy.ts';
import { startMosquitto, type TestMosquitto } from '../harness/mosquitto.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { clientOf, enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { repositoryRoot } from '../harness/tools.ts';
import { until } from '../harness/until.ts';

let stack: TestStack;
/** Between boards and router. */
let proxy: FaultyProxy;
let broker: TestMosquitto;
let gateway: TestBoard;
let coapPort: number;
let keyFile: string;

beforeAll(async () => {
  // The router's port is known only later; the proxy reads its target at each connection.
  const target = { port: 1 };
  proxy = await startFaultyProxy(target);
  stack = await startStack({ env: { BOARDWALK_BOARD_URLS: proxy.url } });
  target.port = Number(new URL(stack.wampUrl).port);
  broker = await startMosquitto();
  coapPort = await findFreePort();
  keyFile = join(stack.home, 'simulate.key');
  await writeFile(keyFile, stack.admin.apiKey, { mode: 0o600 });
  gateway = await enrolBoard(stack, {
    name: 'load-gateway',
    settings: {
      sources: [
        { kind: 'mqtt', urls: [broker.url], rules: [{ match: 'sim/{module}', decoder: 'json' }] },
        { kind: 'coap', port: coapPort, rules: [{ match: 'r', decoder: 'json' }] },
      ],
    },
  });
  await gateway.start();
}, 180_000);

afterAll(async () => {
  await gateway?.end('SIGTERM');
  await broker?.stop();
  await proxy?.close();
  await stack?.stop();
}, 60_000);

interface Simulation {
  signal(signal: NodeJS.Signals): void;
  progress(): string;
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

function start(...args: string[]): Simulation {
  const all = ['simulate', '--api', stack.apiUrl, '--key-file', keyFile, ...args];
  const child = spawn(process.execPath, [join(repositoryRoot, 'board-agent/main.ts'), ...all]);
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  return {
    signal: (signal) => void child.kill(signal),
    progress: () => said.stderr,
    ended: new Promise((resolve) => child.on('close', (code) => resolve({ code, ...said }))),
  };
}

async function simulate(...args: string[]): Promise<{ code: number | null; result: RunResult }> {
  const { code, stdout, stderr } = await start('--json', ...args).ended;
  if (stdout === '') throw new Error(stderr);
  return { code, result: JSON.parse(stdout) as RunResult };
}

describe('boardwalk-agent simulate', () => {
  it('plays boards over WAMP, and deletes them', async () => {
    const args = ['--over', 'wamp', '--url', stack.wampUrl, '--boards', '5', '--rate', '20', '--for', '3s'];
    const { code, stdout, stderr } = await start(...args).ended;
    expect(`${stdout}${stderr}`).toMatch(/sent 300 \(.*\), acknowledged 300, stored 300: equal/);
    expect(stderr).toMatch(/ 2 s {2}sent \d+, acknowledged \d+/);
    expect(code).toBe(0);
    const { items } = await clientOf(stack).request('GET', '/v1/boards?namePrefix=sim-');
    expect(items).toEqual([]);
  });

  it('plays devices over MQTT, twice with numbers that go on', async () => {
    const args = ['--over', 'mqtt', '--board', gateway.name, '--broker', broker.url, '--boards', '8'];
    for (let round = 0; round < 2; round += 1) {
      const { code, result } = await simulate(...args, '--prefix', 'm', '--rate', '10', '--for', '2s');
      expect(result).toMatchObject({
        planned: 160,
        sent: 160,
        acknowledged: 160,
        stored: 160,
        differences: [],
      });
      expect(code).toBe(0);
    }
    const { items } = await clientOf(stack).request('GET', `/v1/boards/${gateway.name}/streams`);
    const counts = (items as { name: string; count: number }[]).filter(({ name }) =>
      /^m-\d\/value$/.test(name),
    );
    expect(counts.map((each) => each.count)).toEqual(Array.from({ length: 8 }, () => 40));
  });

  it('plays devices over CoAP, also while their gateway is killed', async () => {
    const target = `coap://127.0.0.1:${coapPort}/r`;
    const args = [
      '--over',
      'coap',
      '--board',
      gateway.name,
      '--target',
      target,
      '--boards',
      '8',
      '--prefix',
      'c',
    ];
    const running = start('--json', ...args, '--rate', '10', '--for', '8s');
    await until('posts are under way', () => running.progress().includes('2 s  sent'));
    await gateway.end('SIGKILL');
    await gateway.start();
    const { code, stdout } = await running.ended;
    expect(JSON.parse(stdout)).toMatchObject({
      sent: 640,
      acknowledged: 640,
      stored: 640,
      refused: 0,
      differences: [],
    });
    expect(code).toBe(0);
  });

  describe('at a gateway that has no room', () => {
    let small: TestBoard;
    let target: string;
    let httpPort: number;
    let filled = 0;

    beforeAll(async () => {
      const port = await findFreePort();
      httpPort = await findFreePort();
      target = `coap://127.0.0.1:${port}/r`;
      const rules = [{ match: 'r', decoder: 'json' }];
      small = await enrolBoard(stack, {
        name: 'small-gateway',
        settings: {
          spool: { maxBytes: 1_048_576 },
          sources: [
            { kind: 'coap', port, rules },
            { kind: 'http', port: httpPort, rules, maxPerSecond: 10_000 },
          ],
        },
      });
      await small.start();
      const modules = `/v1/boards/${small.name}/modules`;
      await clientOf(stack).request('POST', modules, { name: 'filler' });
    }, 60_000);
    afterAll(() => small?.end('SIGTERM'));

    const args = (...more: string[]) => [
      ...['--over', 'coap', '--board', small.name, '--target', target],
      ...['--boards', '4', '--prefix', 'f', '--rate', '10', ...more],
    ];

    /** Posts until nothing is taken any more: what is under way then meets a full spool as well. */
    async function fill(): Promise<void> {
      for (;;) {
        filled += 1;
        const response = await fetch(`http://127.0.0.1:${httpPort}/r`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ device: 'filler', seq: filled, data: { text: 'x'.repeat(1900) } }),
        });
        await response.body?.cancel();
        if (response.status === 503) return;
        expect(response.status).toBe(200);
      }
    }

    async function stored(): Promise<number> {
      const { items } = await clientOf(stack).request('GET', `/v1/boards/${small.name}/streams?limit=100`);
      return (items as { name: string; count: number }[])
        .filter(({ name }) => /^f-\d\/value$/.test(name))
        .reduce((sum, { count }) => sum + count, 0);
    }

    it('is as honest when it gives up as when there is room again: sent, acknowledged and stored are equal then', async () => {
      const first = await simulate(...args('--for', '1s'));
      expect(first.result).toMatchObject({ sent: 40, acknowledged: 40, stored: 40, unavailable: 0 });

      proxy.setMode('drop');
      await fill();
      const without = await simulate(...args('--for', '1s', '--patience', '1'));
      expect(without.result).toMatchObject({
        sent: 40,
        acknowledged: 0,
        stored: 0,
        refused: 0,
        equal: false,
      });
      expect(without.result.unavailable).toBeGreaterThanOrEqual(40);
      expect(without.result.differences.join('\n')).toMatch(
        /f-1: sent 10, acknowledged 0, refused 0, stored 0/,
      );
      expect(without.result.differences.join('\n')).toMatch(/ × 5\.03 .*no room/);
      expect(without.code).toBe(1);

      const running = start('--json', ...args('--for', '2s'));
      await until('it is told to come again', () => running.progress().includes('unavailable'));
      proxy.setMode('pass');
      const { code, stdout } = await running.ended;
      const result = JSON.parse(stdout) as RunResult;
      expect(result).toMatchObject({
        sent: 80,
        acknowledged: 80,
        stored: 80,
        refused: 0,
        equal: true,
        differences: [],
      });
      expect(result.unavailable).toBeGreaterThan(0);
      expect(code).toBe(0);
      // What was not acknowledged before was not kept either.
      expect(await stored()).toBe(120);
    }, 120_000);
  });

  it('ends at Ctrl-C with the totals so far', async () => {
    const args = ['--over', 'mqtt', '--board', gateway.name, '--broker', broker.url, '--boards', '2'];
    const running = start('--json', ...args, '--rate', '10', '--for', '10m', '--prefix', 'stop');
    await until('it sends', () => running.progress().includes('1 s  sent'));
    running.signal('SIGINT');
    const { code, stdout } = await running.ended;
    const result = JSON.parse(stdout) as RunResult;
    expect(result.sent).toBeGreaterThan(0);
    expect(result).toMatchObject({ acknowledged: result.sent, stored: result.sent, equal: true });
    expect(code).toBe(0);
  });

  it('says what is not stored: the broker took it, and nobody heard it', async () => {
    const args = [
      '--over',
      'mqtt',
      '--board',
      gateway.name,
      '--broker',
      broker.url,
      '--topic',
      'else/{device}',
    ];
    const { code, result } = await simulate(
      ...args,
      '--boards',
      '1',
      '--rate',
      '5',
      '--for',
      '1s',
      '--prefix',
      'deaf',
      '--patience',
      '2',
    );
    expect(result).toMatchObject({ sent: 5, acknowledged: 5, stored: 0, equal: false });
    expect(result.differences[0]).toContain('deaf-1: sent 5, acknowledged 5, refused 0, stored 0');
    expect(code).toBe(1);
  });

  it.each([
    [['--over', 'mqtt'], '--board <the gateway> is needed'],
    [['--over', 'wamp'], '--url <router> is needed'],
    [['--over', 'coap', '--board', 'load-gateway', '--target', 'http://x/y'], 'not a CoAP URL'],
    [['--over', 'coap', '--board', 'nobody', '--target', 'coap://127.0.0.1/r'], '404'],
    [['--over', 'smoke'], 'Allowed choices are wamp, mqtt, coap'],
    [['--over', 'mqtt', '--boards', '0'], 'whole number from 1 to 1000'],
    [['--over', 'mqtt', '--for', 'soon'], 'a time is like 30s'],
  ])('refuses %j', async (args, reason) => {
    const { code, stderr } = await start(...args).ended;
    expect(stderr).toContain(reason);
    expect(code).toBe(1);
  });
});
