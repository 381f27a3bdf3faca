/** The source `mqtt` at a real broker: what is acknowledged when, and what comes again. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startMosquitto, type TestMosquitto } from '../../harness/mosquitto.ts';
import { until } from '../../harness/until.ts';
import { type OpenSource, openSource, stored, unavailable } from './source-support.ts';

let broker: TestMosquitto;
let secured: TestMosquitto;
let folder: string;
const open: (OpenSource | MqttClient)[] = [];
let number = 0;
/** Each test has topics of its own. */
let base: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'boardwalk-mqtt-files-'));
  [broker, secured] = await Promise.all([
    startMosquitto({
      settings: ['max_inflight_messages 2000', 'max_queued_messages 0', 'set_tcp_nodelay true'],
    }),
    startMosquitto({ tls: true, passwords: { board: 'right-password', device: 'device-password' } }),
  ]);
});

beforeEach(() => {
  number += 1;
  base = `t${number}`;
});

afterEach(async () => {
  for (const each of open.splice(0).reverse())
    await ('endAsync' in each ? each.endAsync(true) : each.close());
});

afterAll(async () => {
  await Promise.all([broker?.stop(), secured?.stop()]);
  rmSync(folder, { recursive: true });
});

const settingsOf = (more: object = {}) => ({
  kind: 'mqtt',
  urls: [broker.url],
  rules: [{ match: `${base}/{module}/status`, decoder: 'json' }],
  ...more,
});

async function hear(more: object = {}): Promise<OpenSource> {
  const source = await openSource(settingsOf(more));
  open.push(source);
  await until('it hears', () => source.faults.length > 1 && source.fault() === undefined);
  return source;
}

async function device(url = broker.url, more: object = {}): Promise<MqttClient> {
  const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 50, ...more });
  open.push(client);
  return client;
}

const publish = (client: MqttClient, text: string | Buffer, more: object = {}, topic = `${base}/a/status`) =>
  client.publishAsync(topic, text, { qos: 1, ...more });

const unique = (texts: string[]) => [...new Set(texts)].map(Number).sort((a, b) => a - b);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

describe('the source mqtt', () => {
  it.each(['5', '3.1.1'])('hears what its rules fit, over MQTT %s', async (protocol) => {
    const source = await hear({ protocol });
    const sender = await device();
    await publish(sender, 'one', {
      properties: {
        contentType: 'application/json',
        userProperties: { device: 'n1', seq: '5', mac: 'ab', other: 'x' },
      },
    });
    await publish(sender, 'elsewhere', {}, `${base}/a/other`);
    await publish(sender, 'two', { qos: 0 });
    await until('both', () => source.heard.length === 2);
    expect(source.texts()).toEqual(['one', 'two']);
    expect(source.heard[0]).toMatchObject({ path: `${base}/a/status`, repetition: false });
    const carried = { contentType: 'application/json', fields: { device: 'n1', seq: '5', mac: 'ab' } };
    if (protocol === '5') expect(source.heard[0]).toMatchObject(carried);
  });

  it.each(['5', '3.1.1'])(
    'takes a message once that several of its filters fit (MQTT %s)',
    async (protocol) => {
      const rules = [`${base}/{module}/temp`, `${base}/n1/{measurement}`, `${base}/n1/temp`];
      const source = await hear({ protocol, rules: rules.map((match) => ({ match, decoder: 'json' })) });
      const sender = await device();
      await publish(sender, 'both', {}, `${base}/n1/temp`);
      await publish(sender, 'one', {}, `${base}/n2/temp`);
      await publish(sender, 'other', {}, `${base}/n1/hum`);
      // What the wider filter takes beside them is left alone.
      await publish(sender, 'none', {}, `${base}/n2/hum`);
      await publish(sender, 'end', {}, `${base}/n1/end`);
      await until('the end', () => source.texts().at(-1) === 'end');
      expect(source.texts()).toEqual(['both', 'one', 'other', 'end']);
    },
  );

  it('shares the messages of a group with others, and hears each of its own', async () => {
    const topics = [`$share/${base}/${base}/#`];
    const sources = [await hear({ topics }), await hear({ topics })];
    const sender = await device();
    await Promise.all(upTo(50).map((each) => publish(sender, String(each))));
    const texts = () => sources.flatMap((each) => each.texts());
    await until('all', () => texts().length === 50);
    expect(unique(texts())).toEqual(upTo(50));
    for (const each of sources) expect(each.heard.length).toBeGreaterThan(0);
  });

  it('keeps many messages waiting for the disk at a time, but not more than it is told', async () => {
    const source = await hear({ maxInFlight: 100 });
    const waiting: (() => void)[] = [];
    source.answer(() => new Promise((resolve) => waiting.push(() => resolve(stored))));
    const sender = await device();
    const sent = upTo(300).map((each) => publish(sender, String(each)));
    await until('as many as allowed', () => source.heard.length === 100);
    // In another order than they came: acknowledged are they in theirs.
    for (const each of waiting.splice(0).reverse()) each();
    await until('the next ones', () => source.heard.length === 200);
    for (const each of waiting.splice(0)) each();
    await until('the last ones', () => source.heard.length === 300);
    for (const each of waiting.splice(0)) each();
    await Promise.all(sent);
    expect(source.texts().map(Number)).toEqual(upTo(300));
  });

  it.each(['5', '3.1.1'])(
    'is sent again what could not be kept, and takes nothing twice that was (MQTT %s)',
    async (protocol) => {
      const source = await hear({ protocol });
      const taken: string[] = [];
      let count = 0;
      source.answer(async ({ payload }) => {
        count += 1;
        if (count % 40 === 0) return unavailable;
        taken.push(Buffer.from(payload).toString());
        return stored;
      });
      const sender = await device();
      await Promise.all(upTo(200).map((each) => publish(sender, String(each))));
      await until('all of them', () => unique(taken).length === 200, { timeoutMs: 20_000 });
      expect(taken).toHaveLength(200);
      expect(source.faults.filter((each) => each?.includes('disk is full'))).not.toHaveLength(0);
      await until('it hears again', () => source.fault() === undefined);
    },
    30_000,
  );

  it('says that it hears although what it knows of the broker cannot be written', async () => {
    const source = await openSource(settingsOf(), { asleep: true });
    open.push(source);
    // In the way of its file, as a full disk would be.
    mkdirSync(join(source.dir, 'mqtt-mqtt.json/in-the-way'), { recursive: true });
    await source.source.start();
    await until('it hears', () => source.faults.length > 1 && source.fault() === undefined);
    await publish(await device(), 'one');
    await until('the message', () => source.heard.length === 1);
  });

  it('says that it is a repetition when a new process is sent what the old one had taken', async () => {
    const source = await hear();
    source.answer(() => new Promise(() => {}));
    const sender = await device();
    await Promise.all(upTo(10).map((each) => publish(sender, String(each))));
    await until('all', () => source.heard.length === 10);
    await source.reopen();
    await until('all again', () => source.heard.length === 20);
    const [first, second] = [source.heard.slice(0, 10), source.heard.slice(10)];
    expect(second.map((each) => each.transmission)).toEqual(first.map((each) => each.transmission));
    expect(first.map((each) => each.repetition)).toEqual(upTo(10).map(() => false));
    expect(second.map((each) => each.repetition)).toEqual(upTo(10).map(() => true));
    source.answer(async () => stored);
    await source.reopen();
    await until('all for the last time', () => source.heard.length === 30);
    await source.reopen();
    await publish(sender, 'new');
    await until('the new one', () => source.texts().at(-1) === 'new');
    expect(source.heard).toHaveLength(31);
  });

  it('takes the same words twice when they were sent twice', async () => {
    const source = await hear();
    const sender = await device();
    for (let count = 0; count < 5; count += 1) await publish(sender, 'same');
    await until('all', () => source.heard.length === 5);
    expect(new Set(source.heard.map((each) => each.transmission)).size).toBe(5);
  });

  it('loses nothing and takes nothing twice when the broker is restarted in the middle', async () => {
    const source = await hear();
    const sender = await device();
    const sent: Promise<unknown>[] = [];
    for (const each of upTo(1500)) {
      sent.push(publish(sender, String(each)));
      if (each === 500 || each === 1000) {
        await until('some', () => source.heard.length > each / 2);
        await broker.restart();
      }
    }
    await Promise.all(sent);
    await until('all', () => unique(source.texts()).length === 1500, { timeoutMs: 30_000 });
    expect(source.faults.filter((each) => each !== undefined).length).toBeGreaterThan(1);
    // The publisher may repeat what the broker had; the broker does not know it as a repetition.
    const own = source.heard.map((each) => `${each.transmission}`);
    expect(new Set(own).size).toBe(own.length);
  }, 60_000);

  const hearing = (source: OpenSource) => until('it hears', () => source.fault() === undefined);

  it('takes a retained message once, whenever it subscribes, and live ones always', async () => {
    const sender = await device();
    await publish(sender, 'kept', { retain: true });
    const source = await hear({ sessionExpirySeconds: 0 });
    await until('the retained one', () => source.texts().join() === 'kept');
    await source.reopen();
    await hearing(source);
    await publish(sender, 'kept', { retain: true });
    await until('the live one', () => source.texts().join() === 'kept,kept');
    await source.reopen();
    await hearing(source);
    await publish(sender, 'end');
    await until('the end', () => source.texts().at(-1) === 'end');
    expect(source.texts()).toEqual(['kept', 'kept', 'end']);
    await source.source.stop();
    await publish(sender, 'other', { retain: true });
    await source.reopen();
    await hearing(source);
    await until('the new retained one', () => source.texts().at(-1) === 'other');
    await source.reopen(settingsOf({ retained: 'ignore', clientId: `${base}-anew` }));
    await hearing(source);
    await publish(sender, 'last', { retain: false });
    await until('the last', () => source.texts().at(-1) === 'last');
    expect(source.texts()).toEqual(['kept', 'kept', 'end', 'other', 'last']);
    await publish(sender, '', { retain: true });
  });

  it('leaves the topics that are no longer wanted', async () => {
    const source = await hear();
    const sender = await device();
    await source.reopen(settingsOf({ topics: [`${base}/b/+`] }));
    await hearing(source);
    await publish(sender, 'old topic');
    await publish(sender, 'new topic', {}, `${base}/b/x`);
    await until('it', () => source.heard.length === 1);
    expect(source.texts()).toEqual(['new topic']);
  });

  it('refuses nothing that others need: what is too large is handed over and acknowledged', async () => {
    const source = await hear();
    source.answer(async ({ payload }) =>
      payload.length > 262_144 ? { status: 'refused', reason: 'too-large', detail: '' } : stored,
    );
    const sender = await device();
    await publish(sender, Buffer.alloc(262_145));
    await publish(sender, 'after');
    await until('both', () => source.heard.length === 2);
    await source.reopen();
    await publish(sender, 'last');
    await until('the last', () => source.texts().at(-1) === 'last');
    expect(source.heard).toHaveLength(3);
  });

  it('shows as its fault why it is not let in, and comes back by itself', async () => {
    const passwordFile = join(folder, 'password');
    writeFileSync(passwordFile, 'wrong\n', { mode: 0o600 });
    const tls = secured.tls;
    if (!tls) throw new Error('no tls');
    const settings = { urls: [tls.url], username: 'board', passwordFile, caFile: tls.ca };
    const source = await openSource(settingsOf(settings));
    open.push(source);
    await until('a refusal', () => /not authorized|password/i.test(source.fault() ?? ''));
    writeFileSync(passwordFile, 'right-password\n');
    await until('it hears', () => source.fault() === undefined, { timeoutMs: 20_000 });
    const sender = await device(secured.url, { username: 'device', password: 'device-password' });
    await publish(sender, 'over tls');
    await until('it', () => source.texts().join() === 'over tls');
    chmodSync(passwordFile, 0o644);
    await expect(openSource(settingsOf(settings))).rejects.toThrow(/others may read it/);
    chmodSync(passwordFile, 0o600);
    const { caFile: _, ...untrusting } = settings;
    const untrusted = await openSource(settingsOf(untrusting));
    open.push(untrusted);
    await until('mistrust', () => /certificate/.test(untrusted.fault() ?? ''));
  }, 40_000);

  it('holds a flood back at the broker instead of in memory', async () => {
    const source = await hear({ maxInFlight: 50 });
    let under = 0;
    let most = 0;
    source.answer(async () => {
      under += 1;
      most = Math.max(most, under);
      await new Promise((resolve) => setImmediate(resolve));
      under -= 1;
      return stored;
    });
    const sender = await device();
    for (let round = 0; round < 20; round += 1)
      await Promise.all(upTo(250).map((each) => publish(sender, String(each), { qos: each % 2 })));
    await until('all of QoS 1', () => source.heard.filter((each) => each.transmission).length === 2500, {
      timeoutMs: 20_000,
    });
    expect(most).toBeLessThanOrEqual(50);
  }, 30_000);
});
