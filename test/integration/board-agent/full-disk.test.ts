/**
 * The agent on a disk that is really full (ENOSPC): nothing is called stored that is not, nothing is
 * half written, and it goes on by itself when there is room again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../common/runtime/guards.ts';
import { boardProcedureUri } from '../../../common/wamp/uris.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { startMosquitto, type TestMosquitto } from '../../harness/mosquitto.ts';
import { findWhyNoDisk, mountSmallDisk, type SmallDisk } from '../../harness/small-disk.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { findFreeUdpPort, openUdpCoap, type UdpCoap } from '../../harness/udp-coap.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

const whyNot = findWhyNoDisk();

describe.skipIf(whyNot !== undefined)(whyNot ?? 'the agent on a full disk', () => {
  let router: TestCrossbar;
  let broker: TestMosquitto;
  let server: StandIn;
  let disk: SmallDisk;
  let boardUuid: string;
  let port: number;
  let client: UdpCoap;
  let sender: MqttClient;
  let output: string;
  let agents: ChildProcess[];

  beforeAll(async () => {
    [router, broker] = await Promise.all([startCrossbar(), startMosquitto()]);
    server = await startStandIn(router);
  }, 180_000);

  beforeEach(async () => {
    output = '';
    agents = [];
    boardUuid = randomUUID();
    disk = await mountSmallDisk(8);
    port = await findFreeUdpPort();
    client = await openUdpCoap(port);
    sender = await connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 50 });
  });

  afterEach(async () => {
    for (const agent of agents) await end(agent);
    await client.close();
    await sender.endAsync(true);
    await disk.stop();
    server.readings.length = 0;
    server.beforeAppend = () => {};
  });

  afterAll(async () => {
    server?.stop();
    await Promise.all([router?.stop(), broker?.stop()]);
  });

  const path = (name: string) => join(disk.outside, name);

  function start(...args: string[]): ChildProcess {
    const program = join(repositoryRoot, 'bin/boardwalk-agent');
    const child = spawn(...disk.inside(program, [...args, '--state', disk.dir]));
    agents.push(child);
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk;
      });
    return child;
  }

  async function end(agent: ChildProcess): Promise<void> {
    if (agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = once(agent, 'exit');
    agent.kill('SIGKILL');
    await ended;
  }

  async function enrol(code = randomUUID()): Promise<number> {
    server.codes.set(code, { boardUuid, ...server.codes.get(code) });
    const [exitCode] = await once(start('enrol', '--url', router.url, '--code', code), 'close');
    return exitCode;
  }

  async function run(topic: string): Promise<ChildProcess> {
    const sources = [
      { kind: 'coap', port, rules: [{ match: 'r', decoder: 'json' }], maxPerSecond: 10_000 },
      { kind: 'mqtt', urls: [broker.url], rules: [{ match: topic, decoder: 'json' }] },
      { kind: 'simulated', module: 'sim', streams: [{ name: 'n', waveform: 'constant', rateHz: 0.1 }] },
    ];
    writeFileSync(path('settings.json'), JSON.stringify({ sources }));
    return restart();
  }

  async function restart(): Promise<ChildProcess> {
    const before = server.hellos.length;
    output = '';
    const agent = start('run');
    await until('it hears the broker', () => output.includes('hearing the broker'), { timeoutMs: 30_000 });
    await until('the server has heard of it', () => server.hellos.length > before, { timeoutMs: 30_000 });
    return agent;
  }

  /** The connection to the broker was closed, because the spool takes nothing. */
  const isUnheard = () => /takes nothing at the moment[^\n]*nothing is heard of the broker/.test(output);

  const call = (procedure: string, kwargs: object = {}) =>
    server.call(boardProcedureUri(boardUuid, procedure), kwargs) as Promise<JsonObject>;

  const text = 'x'.repeat(1000);
  const message = (device: string, value: number) =>
    JSON.stringify({ device, seq: value, data: { v: value, text } });
  const post = (value: number) => client.request({ path: 'r', payload: message('coap', value) });

  /** Values of a device as the server has them, in the order in which they came. */
  const valuesOf = (device: string) =>
    server.readings.filter((each) => each.stream === `${device}/v`).map((each) => Number(each.value));

  /** Posts until it is refused; answers with what was acknowledged. */
  async function postUntilRefused(from: number): Promise<number[]> {
    const acknowledged: number[] = [];
    for (let value = from; value < from + 6000; value += 1) {
      const answer = await post(value);
      if (answer.code === '2.04') {
        acknowledged.push(value);
        continue;
      }
      expect(answer.code).toBe('5.03');
      expect(answer.options.find((each) => each.name === 'Max-Age')?.value[0]).toBeGreaterThan(0);
      return acknowledged;
    }
    throw new Error('the disk took everything');
  }

  it('says 5.03 and sends no PUBACK, and goes on by itself: what was acknowledged is stored once', async () => {
    expect(await enrol()).toBe(0);
    const agent = await run('full/first');
    // Nothing leaves the spool, as while the link is slow.
    const stalled = Promise.withResolvers<void>();
    server.beforeAppend = () => stalled.promise;
    const acknowledged = new Set<number>();
    for (let value = 1; value <= 50; value += 1) {
      expect((await post(value)).code).toBe('2.04');
      acknowledged.add(value);
    }
    disk.fill();
    for (const value of await postUntilRefused(51)) acknowledged.add(value);
    // What is no message of a device has to be kept as well before it is acknowledged.
    expect((await client.request({ path: 'r', payload: 'rubbish' })).code).toBe('5.03');
    const mqtt = Array.from({ length: 20 }, (_, value) => value);
    await Promise.all(
      mqtt.map((value) => sender.publishAsync('full/first', message('mqtt', value), { qos: 1 })),
    );
    await until('the broker is told nothing', () => isUnheard());

    // Also for one that is killed and starts on the full disk.
    await end(agent);
    const next = await restart();
    for (const value of await postUntilRefused(5000)) acknowledged.add(value);
    expect(next.exitCode).toBeNull();

    disk.free();
    await until('there is room', async () => (await post(9000)).code === '2.04', { timeoutMs: 30_000 });
    acknowledged.add(9000);
    stalled.resolve();
    await until(
      'all of it',
      () => valuesOf('coap').length >= acknowledged.size && valuesOf('mqtt').length >= 20,
      {
        timeoutMs: 45_000,
      },
    );
    expect(valuesOf('coap').toSorted((a, b) => a - b)).toEqual([...acknowledged].toSorted((a, b) => a - b));
    expect(valuesOf('mqtt').toSorted((a, b) => a - b)).toEqual(mqtt);
    expect(next.exitCode).toBeNull();
    expect(output).not.toMatch(/uncaught|unhandled/i);
  }, 120_000);

  it('keeps a dead letter before it is acknowledged, and each of them once', async () => {
    expect(await enrol()).toBe(0);
    await run('full/second');
    const letters = async () => (await call('gateway.dead_letters', { limit: 200 })) as JsonObject;
    const rubbish = (number: number) => `no JSON ${number} ${text}`;
    const send = async (number: number) =>
      (await client.request({ path: 'r', payload: rubbish(number) })).code;
    expect(await send(0)).toBe('2.04');
    disk.fill();
    const kept = [0];
    for (let number = 1; number < 6000; number += 1) {
      const code = await send(number);
      if (code === '2.04') kept.push(number);
      else {
        expect(code).toBe('5.03');
        break;
      }
    }
    await sender.publishAsync('full/second', rubbish(7000), { qos: 1 });
    await until('the broker is told nothing', () => isUnheard());
    disk.free();
    await until('there is room', async () => (await send(8000)) === '2.04', { timeoutMs: 30_000 });
    await until('all of them', async () => {
      const { summary } = (await letters()) as { summary: { letters: number } };
      return summary.letters >= kept.length + 2;
    });
    const { summary } = await letters();
    expect(summary).toMatchObject({ letters: kept.length + 2, byReason: { undecodable: kept.length + 2 } });
  }, 120_000);

  it('has no file half written, and takes over what it was told when there is room', async () => {
    expect(await enrol()).toBe(0);
    const agent = await run('full/third/{module}');
    // So many topics that what is known of the broker is larger than what is left of the disk.
    for (let each = 0; each < 400; each += 1)
      await sender.publishAsync(`full/third/device-${each}`, JSON.stringify({ v: each }), { qos: 1 });
    await until('all is taken', () => server.readings.length >= 400, { timeoutMs: 30_000 });
    const identity = () => JSON.parse(readFileSync(path('identity.json'), 'utf8'));
    const memory = () => JSON.parse(readFileSync(path('mqtt-mqtt.json'), 'utf8'));
    const before = { identity: identity(), clientId: memory().clientId };

    disk.fill(8192);
    await broker.restart();
    await until('it could not be written', () => output.includes('known of the broker could not be stored'));
    expect(memory()).toMatchObject({ clientId: before.clientId });
    disk.fill();
    server.settings = { ...server.settings, heartbeatIntervalMs: 250 };
    server.helloNeeded = true;
    await until('neither could the identity', () => output.includes('new settings could not be stored'));
    expect(identity()).toEqual(before.identity);
    expect(readdirSync(disk.outside).filter((each) => each.endsWith('.new'))).toEqual([]);
    expect(agent.exitCode).toBeNull();
    expect(await call('ping')).toBeDefined();

    disk.free();
    await end(agent);
    await restart();
    await until('they are', () => identity().settings.heartbeatIntervalMs === 250);
    expect(identity()).toMatchObject({ privateKey: before.identity.privateKey });
    expect(memory().clientId).toBe(before.clientId);
  }, 120_000);

  it('runs nothing twice, and tells of nothing that a kill makes it forget', async () => {
    expect(await enrol()).toBe(0);
    const agent = await run('full/fourth');
    const step = (operationId: string) =>
      server.run(boardUuid, { operationId, procedure: 'sim.step', kwargs: {} }).then(
        ({ report }) => report?.state ?? 'refused',
        () => 'refused',
      );
    const executions = () => {
      const lines = readFileSync(path('executions.log'), 'utf8').split('\n').filter(Boolean);
      return lines.map((line) => JSON.parse(line).operationId as string);
    };
    const first = randomUUID();
    expect(await step(first)).toBe('succeeded');
    disk.fill();
    const told = new Map<string, string>();
    for (let each = 0; each < 30; each += 1) {
      const id = randomUUID();
      told.set(id, await step(id));
    }
    expect([...told.values()]).toContain('refused');
    // What may run twice without harm goes on.
    const answer = await server.run(boardUuid, { procedure: 'echo', kwargs: { message: 'hello' } });
    expect(answer.report).toMatchObject({ state: 'succeeded' });
    await end(agent);
    disk.free();
    await restart();
    for (const [id, state] of told) {
      const { reports } = await server.ask(boardUuid, 'status', id);
      if (state !== 'refused') expect(reports).toMatchObject([{ operationId: id, state }]);
      // Sent again, as the server does with what was refused.
      else expect(await step(id)).toBe('succeeded');
    }
    const ran = executions();
    expect(ran).toHaveLength(new Set(ran).size);
    const succeeded = [first, ...told.keys()].filter((id) => (told.get(id) ?? 'succeeded') !== 'failed');
    expect(ran.toSorted()).toEqual(succeeded.toSorted());
  }, 120_000);

  it('says that an enrolment failed, and finishes it with the same code when there is room', async () => {
    const code = randomUUID();
    disk.fill();
    expect(await enrol(code)).toBe(1);
    expect(output).toMatch(/no space left|full/);
    expect(readdirSync(disk.outside).filter((each) => each.endsWith('.json'))).toEqual([]);
    disk.free();
    expect(await enrol(code)).toBe(0);
  }, 60_000);
});
