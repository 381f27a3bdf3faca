/** The source `coap` against libcoap's client: what is answered, and what is on disk by then. */
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { IntakeOutcome } from '../../../board-agent/intake/types.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import { writeMessage } from '../../../board-agent/sources/coap/packet.ts';
import { runCoapClient } from '../../harness/coap-client.ts';
import { openUdpCoap } from '../../harness/udp-coap.ts';
import { until } from '../../harness/until.ts';
import { type Bench, createBench, letIn } from '../../unit/board-agent/intake/support.ts';
import { type CleanUp, openCoapSource } from './coap-support.ts';

const cleanUp: CleanUp = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

async function openIntake(): Promise<Bench> {
  const bench = createBench();
  cleanUp.push(bench.close);
  await letIn(bench);
  return bench;
}

const post = (url: string, payload: string | Uint8Array, ...more: string[]) =>
  runCoapClient(['-m', 'post', '-t', 'json', ...more, url], { payload });
const get = (url: string, ...more: string[]) => runCoapClient(['-m', 'get', ...more, url]);

describe('the source coap', () => {
  it('takes 25 messages of a device over IPv6 and IPv4, each on disk when it is acknowledged', async () => {
    const bench = await openIntake();
    const { port } = await openCoapSource(cleanUp, {}, (message) => bench.door.take(message));
    for (let seq = 1; seq <= 25; seq += 1) {
      const host = seq % 2 === 0 ? '[::1]' : '127.0.0.1';
      const body = JSON.stringify({ device: 'n1', seq, data: { temp: 20 + seq, hum: 40 } });
      const answer = await post(`coap://${host}:${port}/r`, body);
      expect(answer).toMatchObject({ code: '2.04', payload: '{"status":"ok"}' });
      expect(bench.spool.peek(100)?.readings).toHaveLength(2 * seq);
    }
    // A known number, a gap of three, and bytes that are no message.
    const url = `coap://[::1]:${port}/r`;
    for (const body of [
      '{"device":"n1","seq":25,"data":{"temp":45,"hum":40}}',
      '{"device":"n1","seq":29,"data":{"temp":1}}',
      'garbage',
    ])
      expect(await post(url, body)).toMatchObject({ code: '2.04', payload: '{"status":"ok"}' });
    expect(bench.spool.peek(100)?.readings).toHaveLength(51);
    expect(bench.intake.modules()).toMatchObject([
      { name: 'n1', received: 26, missed: 3, duplicate: 1, lastSeq: 29 },
    ]);
  });

  it('hands over path, query, media type and payload', async () => {
    const { port, heard } = await openCoapSource(cleanUp, { rules: [{ match: '#', decoder: 'json' }] });
    const url = `coap://127.0.0.1:${port}/a%20b/c?device=n1&seq=5&mac=00ff&else=1`;
    const answer = await runCoapClient(['-m', 'put', '-t', '112', url], { payload: Uint8Array.of(0, 255) });
    expect(answer.code).toBe('2.04');
    expect(heard).toEqual([
      {
        path: 'a b/c',
        payload: Buffer.from([0, 255]),
        contentType: 'application/senml+cbor',
        fields: { device: 'n1', seq: '5', mac: '00ff' },
        transmission: expect.any(String),
      },
    ]);
  });

  it.each([
    [{ status: 'duplicate' }, '2.04', undefined],
    [{ status: 'held' }, '2.04', undefined],
    [{ status: 'dead', reason: 'unmatched', detail: 'no rule' }, '2.04', undefined],
    [{ status: 'refused', reason: 'bad-mac', detail: 'wrong' }, '4.01', undefined],
    [{ status: 'refused', reason: 'too-fast', detail: 'fast', retryAfterSeconds: 2.2 }, '4.29', 'Max-Age:3'],
    [{ status: 'refused', reason: 'too-large', detail: 'large' }, '4.13', 'Size1:65536'],
    [{ status: 'unavailable', detail: 'full', retryAfterSeconds: 5 }, '5.03', 'Max-Age:5'],
  ] satisfies [IntakeOutcome, string, string | undefined][])(
    'says %j with %s',
    async (outcome, code, option) => {
      const { port } = await openCoapSource(cleanUp, {}, async () => outcome);
      const answer = await post(`coap://127.0.0.1:${port}/r`, 'x');
      expect(answer.code).toBe(code);
      if (option !== undefined) expect(answer.log).toContain(option);
      expect(answer.payload === '{"status":"ok"}').toBe(code === '2.04');
    },
  );

  it('lists its resources, filtered, in blocks where they are asked for', async () => {
    const { port } = await openCoapSource(cleanUp);
    const url = `coap://[::1]:${port}/.well-known/core`;
    const whole = await get(url);
    expect(whole).toMatchObject({
      code: '2.05',
      payload: expect.stringContaining('</time>;rt="boardwalk.time"'),
    });
    expect(whole.log).toContain('Content-Format:application/link-format');
    expect((await get(url, '-b', '64')).payload).toBe(whole.payload);
    const filtered = await get(`${url}?rt=boardwalk.read*&ct=50`);
    expect(filtered.payload).toMatch(/^<\/r>;rt="boardwalk\.readings [^,]*$/);
    expect(await get(`${url}?rt=nothing`)).toMatchObject({ code: '2.05', payload: '' });
  });

  it('tells the time, and observers again and again', async () => {
    const { port } = await openCoapSource(cleanUp);
    const url = `coap://127.0.0.1:${port}/time`;
    const { payload } = await get(url);
    expect(Math.abs(Date.parse(payload) - Date.now())).toBeLessThan(10_000);
    expect(JSON.parse((await get(url, '-A', 'json')).payload)).toEqual({
      time: expect.any(String),
      epochMs: expect.any(Number),
    });
    const observed = await get(url, '-s', '3');
    expect(observed.log.match(/t:CON c:2\.05/g)?.length).toBeGreaterThanOrEqual(2);
  });

  it('knows what it does not have, and what is not done there', async () => {
    const { port, heard } = await openCoapSource(cleanUp);
    const code = async (method: string, path: string) =>
      (await runCoapClient(['-m', method, `coap://127.0.0.1:${port}/${path}`])).code;
    expect(await code('get', 'nothing')).toBe('4.04');
    expect(await code('get', 'r')).toBe('4.05');
    expect(await code('delete', 'r')).toBe('4.05');
    expect(await code('post', 'time')).toBe('4.05');
    expect(heard).toEqual([]);
  });

  it('takes a body in blocks, up to the limit', async () => {
    const { port, heard } = await openCoapSource(cleanUp, { maxPayloadBytes: 5000 });
    const url = `coap://127.0.0.1:${port}/r`;
    const body = JSON.stringify({ device: 'n1', data: { text: 'x'.repeat(4900) } });
    expect(await post(url, body, '-b', '128')).toMatchObject({ code: '2.04', payload: '{"status":"ok"}' });
    expect(heard.map((each) => Buffer.from(each.payload).toString())).toEqual([body]);
    expect((await post(url, 'x'.repeat(5001), '-b', '128')).code).toBe('4.13');
    expect(heard).toHaveLength(1);
  });

  it('answers a post that takes long after an empty acknowledgement, and handles it once', async () => {
    const { port, heard } = await openCoapSource(cleanUp, {}, async () => {
      await new Promise((resolve) => setTimeout(resolve, 3500));
      return { status: 'stored', readings: 1 };
    });
    const answer = await runCoapClient(['-m', 'post', '-t', 'json', `coap://127.0.0.1:${port}/r`], {
      payload: '{}',
      waitSeconds: 10,
    });
    expect(answer).toMatchObject({ code: '2.04', payload: '{"status":"ok"}' });
    expect(answer.log).toMatch(/t:ACK c:0\.00/);
    expect(answer.log).toMatch(/t:CON c:2\.04/);
    expect(heard).toHaveLength(1);
  });

  it('answers NON with NON', async () => {
    const { port } = await openCoapSource(cleanUp);
    const client = await openUdpCoap(port);
    cleanUp.push(() => client.close());
    expect(await client.request({ path: 'r', type: 'NON' })).toMatchObject({ type: 'NON', code: '2.04' });
  });

  it('stores a repeated transmission once, also when it has forgotten its answers', async () => {
    const bench = await openIntake();
    const { port, source } = await openCoapSource(cleanUp, {}, (message) => bench.door.take(message));
    const client = await openUdpCoap(port);
    cleanUp.push(() => client.close());
    const bytes = writeMessage({
      type: 'CON',
      code: '0.02',
      messageId: 7,
      token: Buffer.from('t'),
      options: [{ name: 'Uri-Path', value: Buffer.from('r') }],
      payload: Buffer.from('{"device":"n1","data":{"temp":1}}'),
    });
    const answered = (count: number) => until(`answer ${count}`, () => client.others.length === count);
    await client.send(bytes);
    await answered(1);
    await client.send(bytes);
    await answered(2);
    await source.stop();
    await source.start();
    await client.send(bytes);
    await answered(3);
    for (const each of client.others) expect(each).toMatchObject({ type: 'ACK', code: '2.04', messageId: 7 });
    expect(bench.spool.peek(10)?.readings).toHaveLength(1);
  });

  it('opens for other hosts only when it is told to', async () => {
    const { port } = await openCoapSource(cleanUp, { public: true });
    for (const host of ['[::1]', '127.0.0.1'])
      expect((await post(`coap://${host}:${port}/r`, 'x')).code).toBe('2.04');
    const rules = [{ match: 'r', decoder: 'json' }];
    const parse = (settings: object) => parseSettings({ sources: [{ kind: 'coap', rules, ...settings }] });
    expect(() => parse({ listen: [{ address: '::' }] })).toThrow(
      '/sources/0/listen/0/address can be reached from other hosts: that needs public: true',
    );
    expect(() => parse({ listen: [{ address: 'here' }] })).toThrow('must be an IP address');
    expect(() => parse({ public: true, listen: [{ address: '::' }] })).not.toThrow();
  });

  it('says on which address it cannot listen', async () => {
    const taken = await openCoapSource(cleanUp);
    const { faults } = await openCoapSource(cleanUp, { port: taken.port });
    expect(faults.at(-1)).toMatch(/cannot listen on .*EADDRINUSE/);
  });

  it('refuses a wrong or missing mac and takes a right one once', async () => {
    const bench = await openIntake();
    const keyFile = `${bench.dir}/n1.key`;
    writeFileSync(keyFile, 'k'.repeat(32), { mode: 0o600 });
    const door = bench.intake.open('coap', {
      name: 'signed',
      rules: [{ match: 'r', decoder: 'json' }],
      maxPerSecond: 100,
      macKeyFiles: { n1: keyFile },
      macRequired: true,
    });
    const { port } = await openCoapSource(cleanUp, {}, (message) => door.take(message));
    const body = '{"data":{"temp":1}}';
    const mac = createHmac('sha256', 'k'.repeat(32)).update(`n1\n5\n${body}`).digest('hex');
    const url = `coap://127.0.0.1:${port}/r?device=n1&seq=5`;
    const wrong = mac.replace(/^./, (first) => (first === '0' ? '1' : '0'));
    const code = async (query: string) => (await post(url + query, body)).code;
    expect(await code('')).toBe('4.01');
    expect(await code(`&mac=${mac}`)).toBe('2.04');
    expect(await code(`&mac=${wrong}`)).toBe('4.01');
    expect(await code('')).toBe('4.01');
    expect(await code(`&mac=${mac}`)).toBe('2.04');
    expect(bench.spool.peek(10)?.readings).toHaveLength(1);
    expect(bench.intake.modules()).toMatchObject([{ name: 'n1', received: 1, duplicate: 1, badMac: 2 }]);
  });
});
