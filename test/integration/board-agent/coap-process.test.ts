/** The agent as a process with the source `coap`: killed under load, full, flooded, and fed with rubbish. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeMessage } from '../../../board-agent/sources/coap/packet.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { findFreeUdpPort, openUdpCoap, type UdpCoap } from '../../harness/udp-coap.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

let router: TestCrossbar;
let server: StandIn;
let stateDir: string;
let port: number;
const children: ChildProcess[] = [];
const clients: UdpCoap[] = [];

beforeAll(async () => {
  router = await startCrossbar();
  server = await startStandIn(router);
});

beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'boardwalk-coap-'));
  port = await findFreeUdpPort();
  server.modules = { unknownDevices: 'create', createPerMinute: 1000, version: 'first', decisions: [] };
  const code = randomUUID();
  server.codes.set(code, { boardUuid: randomUUID() });
  const enrolled = start(['enrol', '--url', router.url, '--code', code]);
  await until('enrolled', () => enrolled.exitCode === 0, { timeoutMs: 30_000 });
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const client of clients.splice(0)) await client.close();
  server.readings.length = 0;
  server.moduleReports.length = 0;
  server.beforeAppend = () => {};
  rmSync(stateDir, { recursive: true });
});

afterAll(async () => {
  server?.stop();
  await router?.stop();
});

function start(args: string[]): ChildProcess {
  const child = spawn(join(repositoryRoot, 'bin/boardwalk-agent'), [...args, '--state', stateDir], {
    stdio: 'ignore',
  });
  children.push(child);
  return child;
}

async function run(source: object = {}, spool: object = {}): Promise<ChildProcess> {
  const coap = {
    kind: 'coap',
    port,
    rules: [{ match: 'r', decoder: 'json' }],
    maxPerSecond: 10_000,
    ...source,
  };
  writeFileSync(join(stateDir, 'settings.json'), JSON.stringify({ spool, sources: [coap] }));
  const agent = start(['run']);
  const client = await open();
  const ask = () => client.request({ path: 'time', code: '0.01', timeoutMs: 200 });
  await until('it listens', ask, { timeoutMs: 30_000 });
  return agent;
}

async function open(address?: string): Promise<UdpCoap> {
  const client = await openUdpCoap(port, address);
  clients.push(client);
  return client;
}

/** mulberry32, so that a failure can be seen again. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const residentMegabytes = ({ pid }: ChildProcess) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

describe('CoAP at a running agent', () => {
  it('has each of 500 posts in flight stored once, killed at any moment', async () => {
    const seed = randomInt(1_000_000);
    console.log(`seed ${seed}`);
    const random = seeded(seed);
    let agent = await run();
    const sockets = await Promise.all(Array.from({ length: 10 }, (_, i) => open(i % 2 ? '::1' : undefined)));
    let acknowledgedBefore = 0;

    /** Repeats one message until it is acknowledged: half of them as they were, half of them anew, with their number. */
    async function deliver(value: number): Promise<void> {
      const client = sockets[value % sockets.length];
      const isNumbered = value % 2 === 0;
      const body = { device: `d${value % 50}`, ...(isNumbered && { seq: value }), data: { v: value } };
      const same = { messageId: value & 0xffff, token: Buffer.from(`v${value}`) };
      for (;;) {
        const request = {
          path: 'r',
          payload: JSON.stringify(body),
          timeoutMs: 2500,
          ...(!isNumbered && same),
        };
        const answer = await client?.request(request).catch(() => undefined);
        if (answer?.code === '2.04') return;
      }
    }
    for (let round = 0; round < 3; round += 1) {
      let acknowledged = 0;
      const posts = Array.from({ length: 500 }, (_, index) =>
        deliver(round * 500 + index).then(() => {
          acknowledged += 1;
        }),
      );
      const enough = Math.floor(random() * 400);
      await until('acknowledgements', () => acknowledged >= enough, { everyMs: 1, timeoutMs: 20_000 });
      agent.kill('SIGKILL');
      acknowledgedBefore += acknowledged;
      agent = await run();
      await Promise.all(posts);
    }
    expect(acknowledgedBefore).toBeLessThan(1500);
    await until('all on the server', () => server.readings.length >= 1500, { timeoutMs: 20_000 });
    const values = server.readings.map((each) => Number(each.value));
    expect(values).toHaveLength(1500);
    expect(new Set(values).size).toBe(1500);
  }, 120_000);

  it('says 5.03 when the spool is full, 2.04 when there is room, and gives up nothing that it acknowledged', async () => {
    const stalled = Promise.withResolvers<void>();
    server.beforeAppend = () => stalled.promise;
    await run({}, { maxBytes: 1_048_576 });
    const client = await open();
    const text = 'x'.repeat(1000);
    const acknowledged: number[] = [];
    const post = (value: number) =>
      client.request({
        path: 'r',
        payload: JSON.stringify({ device: 'n1', seq: value, data: { v: value, text } }),
      });
    let value = 1;
    let answer = await post(value);
    for (; answer.code === '2.04' && value < 5000; answer = await post(value)) {
      acknowledged.push(value);
      value += 1;
    }
    expect(answer).toMatchObject({ code: '5.03' });
    expect(answer.options.map((each) => each.name)).toContain('Max-Age');
    expect(acknowledged.length).toBeGreaterThan(100);
    stalled.resolve();
    await until('room', async () => (await post(value)).code === '2.04', { timeoutMs: 30_000 });
    acknowledged.push(value);
    const stored = () =>
      server.readings.filter((each) => each.stream === 'n1/v').map((each) => Number(each.value));
    await until('all on the server', () => stored().length >= acknowledged.length, { timeoutMs: 30_000 });
    expect(stored().toSorted((a, b) => a - b)).toEqual(acknowledged);
  }, 90_000);

  it('lets no device hinder another one', async () => {
    await run({ maxPerSecond: 20 });
    const [flooder, good] = [await open(), await open('::1')];
    const codes: string[] = [];
    let over = false;
    /** Ten times what it may, and beyond what ten seconds give credit for. */
    const flood = (async () => {
      for (let seq = 1; !over; seq += 1) {
        const payload = JSON.stringify({ device: 'flood', seq, data: { v: 1 } });
        void flooder.request({ path: 'r', payload }).then(
          ({ code }) => void codes.push(code),
          () => undefined,
        );
        await new Promise((resolve) => setTimeout(resolve, 4));
      }
    })();
    await until('it is refused', () => codes.includes('4.29'), { timeoutMs: 20_000 });
    const times: number[] = [];
    for (let seq = 1; seq <= 100; seq += 1) {
      const startedAt = performance.now();
      const payload = JSON.stringify({ device: 'good', seq, data: { v: seq } });
      const { code } = await good.request({ path: 'r', payload });
      expect(code).toBe('2.04');
      times.push(performance.now() - startedAt);
    }
    over = true;
    await flood;
    expect(times.toSorted((a, b) => a - b)[95]).toBeLessThan(500);
    expect(codes.filter((code) => code === '4.29').length).toBeGreaterThan(10);
  }, 60_000);

  it('lives through any datagrams, and serves a good client meanwhile', async () => {
    const seed = randomInt(1_000_000);
    console.log(`seed ${seed}`);
    const agent = await run();
    const [hostile, good] = [await open(), await open()];
    const before = residentMegabytes(agent);
    const random = seeded(seed);
    let served = 0;
    let over = false;
    const serving = (async () => {
      for (; !over; served += 1) {
        const payload = JSON.stringify({ device: 'good', seq: served, data: { v: served } });
        // A datagram may be lost where so many come: it is sent again then, as devices do.
        const sent = () => good.request({ path: 'r', payload, timeoutMs: 1000 }).catch(() => undefined);
        await until('a post is acknowledged', async () => (await sent())?.code === '2.04');
      }
    })();
    for (let count = 0; count < 20_000; count += 1) {
      await hostile.send(rubbish(random));
      if (count % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    over = true;
    await serving;
    expect(served).toBeGreaterThan(10);
    expect(agent.exitCode).toBeNull();
    expect((await good.request({ path: 'time', code: '0.01' })).code).toBe('2.05');
    expect(residentMegabytes(agent) - before).toBeLessThan(50);
    expect(residentMegabytes(agent)).toBeLessThan(150);
  }, 90_000);
});

const bytesOf = (random: () => number, length: number) =>
  Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));

/** Random bytes, real messages with some bytes changed or cut, and the corners of the format. */
function rubbish(random: () => number): Buffer {
  const pick = <T>(...values: T[]): T => values[Math.floor(random() * values.length)] as T;
  const text = (name: string, length: number) => ({ name, value: bytesOf(random, length) });
  const real = writeMessage({
    type: pick('CON', 'NON', 'ACK', 'RST'),
    code: pick('0.01', '0.02', '0.03', '0.04', '0.05', '1.01', '2.05', '7.31'),
    messageId: Math.floor(random() * 65_536),
    token: bytesOf(random, Math.floor(random() * 9)),
    options: [
      { name: 'Uri-Path', value: Buffer.from(pick('r', 'time', '.well-known', 'x')) },
      text(
        pick('Block1', 'Block2', 'Observe', 'Accept', 'Content-Format', 'Uri-Query', 'Proxy-Uri', '65535'),
        pick(0, 1, 3, 4, 300),
      ),
    ],
    payload: bytesOf(random, pick(0, 1, 20, 1400)),
  });
  switch (Math.floor(random() * 5)) {
    case 0:
      return bytesOf(random, Math.floor(random() * 64));
    case 1:
      return real.subarray(0, Math.floor(random() * real.length));
    case 2:
      real[0] = Math.floor(random() * 256);
      return real;
    case 3:
      for (let count = 0; count < 4; count += 1)
        real[Math.floor(random() * real.length)] = Math.floor(random() * 256);
      return real;
    default:
      return real;
  }
}
