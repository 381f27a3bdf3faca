/** The agent as a process at a real broker: killed under load, and commands to real device programs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readStatus } from '../../../board-agent/commands/status.ts';
import { toAppError } from '../../../common/wamp/errors.ts';
import { boardProcedureUri } from '../../../common/wamp/uris.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { startMosquitto, type TestMosquitto } from '../../harness/mosquitto.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

let router: TestCrossbar;
let broker: TestMosquitto;
let server: StandIn;
let stateDir: string;
let boardUuid: string;
let sender: MqttClient;
const children: ChildProcess[] = [];

beforeAll(async () => {
  [router, broker] = await Promise.all([
    startCrossbar(),
    startMosquitto({ settings: ['max_inflight_messages 1000', 'max_queued_messages 0'] }),
  ]);
  server = await startStandIn(router);
});

beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'boardwalk-mqtt-agent-'));
  boardUuid = randomUUID();
  server.modules = { unknownDevices: 'create', createPerMinute: 1000, version: 'first', decisions: [] };
  const code = randomUUID();
  server.codes.set(code, { boardUuid });
  expect(await start(['enrol', '--url', router.url, '--code', code]).ended).toBe(0);
  sender = await connectAsync(broker.url, { protocolVersion: 5 });
});

afterEach(async () => {
  await sender.endAsync(true);
  await Promise.all(
    children.splice(0).map(async (child) => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null)
        await new Promise((resolve) => child.once('exit', resolve));
    }),
  );
  server.readings.length = 0;
  rmSync(stateDir, { recursive: true });
});

afterAll(async () => {
  server?.stop();
  await Promise.all([router?.stop(), broker?.stop()]);
});

function start(args: string[]) {
  const child = spawn(join(repositoryRoot, 'bin/boardwalk-agent'), [...args, '--state', stateDir]);
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      output += chunk;
    });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, ended, output: () => output };
}

const readings = (match = 'field') => ({
  kind: 'mqtt',
  urls: [broker.url],
  rules: [{ match, decoder: 'json' }],
  maxPerSecond: 100_000,
});

async function run(source: object) {
  writeFileSync(join(stateDir, 'settings.json'), JSON.stringify({ sources: [source] }));
  const agent = start(['run']);
  await until('it hears the broker', () => agent.output().includes('hearing the broker'));
  return agent;
}

const call = (name: string, kwargs: object) =>
  server.call(boardProcedureUri(boardUuid, name), kwargs).catch((error) => {
    throw toAppError(error);
  });

describe('the agent at a broker', () => {
  it('stores each message once, however often it is killed with hundreds in flight', async () => {
    const count = 6000;
    let agent = await run(readings());
    const sent = Array.from({ length: count }, (_, v) =>
      // Half of the devices count their messages; of the others only the broker knows what was sent.
      sender.publishAsync(
        'field',
        JSON.stringify({ device: `d${v % 20}`, ...(v % 2 === 0 && { seq: v }), data: { v } }),
        { qos: 1 },
      ),
    );
    const taken = () => readStatus(stateDir).status?.spool.waiting ?? 0;
    for (let round = 0; round < 3; round += 1) {
      const before = server.readings.length + taken();
      await until('some are taken', () => server.readings.length + taken() > before + 200);
      agent.child.kill('SIGKILL');
      await agent.ended;
      agent = start(['run']);
    }
    await Promise.all(sent);
    await until('all of them', () => new Set(server.readings.map((each) => each.value)).size === count, {
      timeoutMs: 40_000,
    });
    await until('nothing waits', () => taken() === 0);
    expect(server.readings).toHaveLength(count);
  }, 90_000);

  it('carries commands to devices behind it, through the procedures that it publishes', async () => {
    const device = spawn(process.execPath, [join(repositoryRoot, 'examples/slow-control/devices/hv.ts')], {
      env: { ...process.env, MQTT_URL: broker.url },
    });
    children.push(device);
    const channel = { type: 'integer', minimum: 0, maximum: 99 };
    const kwargs = (name: string, schema: object) => ({
      type: 'object',
      properties: { channel, [name]: schema },
      required: ['channel', name],
    });
    const of = (name: string) => ({
      module: 'hv',
      name,
      safety: 'idempotent',
      request: { topic: `/{module}/cmd/${name}/{channel}` },
      error: {
        topic: '/{module}/error',
        match: { command: name, channel: '{channel}' },
        message: 'message',
      },
    });
    const select = { number: '{channel}' };
    const agent = await run({
      ...readings(),
      commands: [
        {
          ...of('switch'),
          kwargs: kwargs('on', { type: 'boolean' }),
          values: { on: { true: 'on', false: 'off' } },
          payload: '{on}',
          status: { topic: '/{module}/status', select, when: { on: '{on}' } },
        },
        {
          ...of('setv'),
          kwargs: kwargs('volts', { type: 'number' }),
          payload: '{volts}',
          status: { topic: '/{module}/status', select, when: { vreq: '{volts}' } },
        },
        {
          // The same by MQTT 5: the device answers where it is told to.
          ...of('ask'),
          kwargs: kwargs('volts', { type: 'number' }),
          request: { topic: '/hv/cmd/setv/{channel}' },
          payload: '{volts}',
          error: undefined,
          answer: { refused: { ok: false }, message: 'message' },
        },
        {
          ...of('nobody'),
          timeoutMs: 500,
          kwargs: kwargs('volts', { type: 'number' }),
          request: { topic: '/absent/cmd/{channel}' },
          status: { topic: '/absent/status', when: { volts: '{volts}' } },
        },
      ],
    });
    await until('online', () =>
      server.hellos.some((each) => each.procedures.some((p) => p.name === 'hv.switch')),
    );
    await until('the device is there', () => call('hv.switch', { channel: 0, on: false }), {
      timeoutMs: 15_000,
    });
    expect(await call('hv.switch', { channel: 1, on: true })).toMatchObject({ number: 1, on: 1 });
    expect(await call('hv.setv', { channel: 1, volts: 100 })).toMatchObject({ number: 1, on: 1, vreq: 100 });
    await expect(call('hv.setv', { channel: 1, volts: 5000 })).rejects.toMatchObject({
      code: 'procedure-failed',
      message: expect.stringContaining('from 0 to 1000'),
    });
    await expect(call('hv.switch', { channel: 9, on: true })).rejects.toMatchObject({
      code: 'procedure-failed',
      message: expect.stringContaining('channels 0 to 3'),
    });
    await expect(call('hv.switch', { channel: '1/../2', on: true })).rejects.toMatchObject({
      code: 'invalid-arguments',
    });
    const answers = await Promise.all(
      [0, 2, 3].map((each) => call('hv.ask', { channel: each, volts: each * 10 })),
    );
    expect(answers).toEqual([{ ok: true }, { ok: true }, { ok: true }]);
    await expect(call('hv.ask', { channel: 1, volts: -1 })).rejects.toMatchObject({
      code: 'procedure-failed',
      message: expect.stringContaining('not'),
    });
    // Brokers of MQTT 5 may say that nobody listens; this one leaves it to the deadline.
    await expect(call('hv.nobody', { channel: 1, volts: 1 })).rejects.toMatchObject({
      code: expect.stringMatching(/^(deadline-exceeded|procedure-failed)$/),
    });
    const both = [1, 2].map((each) => call('hv.setv', { channel: each, volts: 33 }));
    expect(await Promise.all(both)).toMatchObject([
      { number: 1, vreq: 33 },
      { number: 2, vreq: 33 },
    ]);
    await broker.down();
    await until('it knows', () => /"reason":".*(lost|ECONNREFUSED|shutting)/.test(agent.output()));
    await expect(call('hv.switch', { channel: 1, on: true })).rejects.toMatchObject({ code: 'unavailable' });
    await broker.up();
    expect(readStatus(stateDir).status?.intake).toBeDefined();
  }, 60_000);

  it('lets nobody call a procedure by a message', async () => {
    const agent = await run(readings('#'));
    await until('online', () => readStatus(stateDir).exitCode === 0);
    const uri = boardProcedureUri(boardUuid, 'ping');
    const request = JSON.stringify({ procedure: 'ping', kwargs: {}, operationId: randomUUID() });
    const topics = [
      uri,
      uri.replaceAll('.', '/'),
      'boardwalk/cmd/ping',
      `boardwalk/${boardUuid}/rpc/ping`,
      'system/cmd/ping',
      `boardwalk/board/${boardUuid}/operation/run`,
    ];
    for (const topic of topics)
      await sender.publishAsync(topic, request, {
        qos: 1,
        properties: { responseTopic: 'answers', correlationData: Buffer.from('1') },
      });
    await sender.publishAsync('field', JSON.stringify({ device: 'n1', data: { v: 1 } }), { qos: 1 });
    await until('what came last', () => server.readings.length === 1);
    expect(agent.output()).not.toMatch(/call (answered|refused|failed)|operation (answered|failed)/);
    await call('ping', {});
    await until('a real call is logged', () => agent.output().includes('call answered'));
  }, 30_000);
});
