/**
 * Readings from the outside in, over real parts only: libcoap's client, Mosquitto and HTTP at a gateway,
 * through router, database and conductor into InfluxDB, a webhook and a file. What each hop has counted
 * is what the next one has got, also when InfluxDB and Mosquitto go away in the middle.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findFreePort } from '../../bin/stack/ports.ts';
import { readRecord } from '../../bin/stack/record.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { SinkPoint } from '../../conductor/sinks/sink-kind.ts';
import { runCoapClient } from '../harness/coap-client.ts';
import { startInfluxdb, type TestInfluxdb } from '../harness/influxdb.ts';
import { startMosquitto, type TestMosquitto } from '../harness/mosquitto.ts';
import { startReceiver, type TestReceiver } from '../harness/receiver.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { clientOf, enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { findFreeUdpPort } from '../harness/udp-coap.ts';
import { until } from '../harness/until.ts';

const database = 'lab';

let stack: TestStack;
let influx: TestInfluxdb;
let broker: TestMosquitto;
let receiver: TestReceiver;
let gateway: TestBoard;
let coapPort: number;
let httpPort: number;

beforeAll(async () => {
  [stack, influx, broker, receiver] = await Promise.all([
    startStack({ env: { BOARDWALK_BATCH_INTERVAL_MS: '500' } }),
    startInfluxdb(),
    startMosquitto(),
    startReceiver(),
  ]);
  await influx.createDatabase(database);
  [coapPort, httpPort] = [await findFreeUdpPort(), await findFreePort()];
  await api('PATCH', `/v1/tenants/${stack.admin.tenant}`, {
    unknownDevices: 'create',
    devicesPerMinute: 1000,
  });
  await createSinks();
  gateway = await enrolBoard(stack, { name: 'gateway', settings: { sources: sources() } });
  await gateway.start();
}, 180_000);

afterAll(async () => {
  await gateway?.end('SIGTERM');
  await Promise.all([stack?.stop(), influx?.stop(), broker?.stop(), receiver?.stop()]);
}, 60_000);

const sources = () => [
  { kind: 'coap', port: coapPort, rules: [{ match: 'r', decoder: 'json' }] },
  {
    kind: 'mqtt',
    urls: [broker.url],
    rules: [
      { match: '/{module}/status', decoder: 'status-list' },
      { match: 'application/+/device/+/event/{event}', decoder: 'chirpstack' },
      { match: 'temp/{module}', decoder: 'csv-parity', options: { names: ['left', 'right', 'roof'] } },
      { match: 'field', decoder: 'json' },
    ],
  },
  { kind: 'http', port: httpPort, rules: [{ match: 'r', decoder: 'json' }] },
];

/** The sink's own defaults are the source document's: batches of 10, the rest after 2 s. */
async function createSinks(): Promise<void> {
  await api('POST', '/v1/sinks', {
    name: 'influx',
    kind: 'influx',
    settings: { api: 'v1', url: influx.url, database },
  });
  await api('POST', '/v1/sinks', { name: 'file', kind: 'file', settings: { name: 'readings' } });
  await api('POST', '/v1/sinks', {
    name: 'hook',
    kind: 'webhook',
    settings: { url: receiver.url },
    secrets: { secret: 'a-secret-of-16-or-more' },
  });
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests, which fail on a wrong shape
const api = async (method: string, path: string, body?: object): Promise<any> =>
  clientOf(stack).request(method, path, body);

/** By libcoap, over IPv6 and IPv4 in turn. */
const post = (payload: object | string, index = 0) =>
  runCoapClient(['-m', 'post', '-t', 'json', `coap://${index % 2 ? '127.0.0.1' : '[::1]'}:${coapPort}/r`], {
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  });
const stored = { code: '2.04', payload: '{"status":"ok"}' };

const say = (body: object) =>
  fetch(`http://127.0.0.1:${httpPort}/r`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

/** How often a stream's values are in the database: value → rows. */
async function rowsOf(stream?: string): Promise<Map<number, number>> {
  const connection = await createConnection({ uri: stack.databaseUrl });
  try {
    const [rows] = await connection.query<RowDataPacket[]>(
      `SELECT r.value_number AS value, COUNT(*) AS n FROM readings r JOIN streams s ON s.id = r.stream_id
       ${stream === undefined ? '' : 'WHERE s.name = ?'} GROUP BY r.value_number`,
      stream === undefined ? [] : [stream],
    );
    return new Map(rows.map(({ value, n }) => [Number(value), Number(n)]));
  } finally {
    await connection.end();
  }
}
const storedRows = async () => [...(await rowsOf()).values()].reduce((sum, each) => sum + each, 0);

async function influxPoints(): Promise<number> {
  const rows = await influx.query('SELECT COUNT(*) FROM /.*/', database);
  const counts = rows.flatMap((row) => Object.entries(row).filter(([name]) => name.startsWith('count_')));
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

async function filePoints(): Promise<SinkPoint[]> {
  const dir = join(stack.home, 'sinks');
  const points: SinkPoint[] = [];
  for (const folder of await readdir(dir))
    for (const file of await readdir(join(dir, folder)))
      for (const line of (await readFile(join(dir, folder, file), 'utf8')).split('\n').slice(0, -1))
        points.push(JSON.parse(line));
  return points;
}

const module = (name: string) => api('GET', `/v1/boards/gateway/modules/${name}`);
const moduleWith = (name: string, sequence: object) =>
  until(`${name} is counted`, async () => {
    const found = await module(name);
    expect(found.sequence).toMatchObject(sequence);
    return found;
  });

/** Number of writes to InfluxDB, as the conductor's metrics have it. */
async function influxWrites(): Promise<number> {
  const { servers = [] } = (await readRecord(stack.home)) ?? {};
  const { url } = servers.find(({ name }) => name === 'conductor') ?? {};
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = /boardwalk_sink_write_seconds_count\{kind="influx",outcome="written"\} (\d+)/.exec(text);
  return Number(found?.[1] ?? 0);
}

/** Everything has arrived everywhere, and every hop says so. */
async function requireBalance(): Promise<void> {
  const { hops } = await until(
    'nothing waits anywhere',
    async () => {
      const flow = await api('GET', `/v1/tenants/${stack.admin.tenant}/flow`);
      const rows = await storedRows();
      for (const hop of flow.hops) expect(hop).toMatchObject({ balanced: true, difference: 0, waiting: 0 });
      // Boards report some seconds later what they have counted.
      const [, spool, sinks] = flow.hops;
      expect(spool).toMatchObject({ stored: rows, rejected: 0 });
      expect(sinks).toMatchObject({ stored: 3 * rows, rejected: 0 });
      return flow as { hops: JsonObject[] };
    },
    { timeoutMs: 30_000, everyMs: 250 },
  );
  expect(hops.map(({ hop }) => hop)).toEqual(['gateway', 'spool', 'sinks']);
  const rows = await storedRows();
  expect(await influxPoints()).toBe(rows);
  expect(new Set((await filePoints()).map(({ id }) => id)).size).toBe(rows);
  expect(new Set(receiver.points().map(({ id }) => id)).size).toBe(rows);
}

describe('a device that speaks CoAP', () => {
  it('finds the resources, over IPv6 and IPv4', async () => {
    for (const host of ['[::1]', '127.0.0.1']) {
      const url = `coap://${host}:${coapPort}/.well-known/core`;
      const { code, payload } = await runCoapClient(['-m', 'get', url]);
      expect({ code, payload }).toMatchObject({ code: '2.05', payload: expect.stringContaining('</r>;') });
    }
  });

  it('has its 25 posts acknowledged, and written as 10, 10 and, when they are 2 s old, 5', async () => {
    for (let seq = 1; seq <= 25; seq += 1)
      expect(await post({ device: 'n1', seq, data: { temp: seq } }, seq)).toMatchObject(stored);
    await until('all of them', () => receiver.points().length === 25);
    expect(receiver.batches.map(({ points }) => points.length)).toEqual([10, 10, 5]);
    expect(receiver.batches[2]!.at - receiver.batches[0]!.at).toBeGreaterThan(1000);
    expect(receiver.points().map(({ value }) => value)).toEqual(
      Array.from({ length: 25 }, (_, at) => at + 1),
    );
    await until('they are in InfluxDB', async () => (await influxPoints()) === 25);
    const rows = await influx.query('SELECT temp, board, module FROM n1', database);
    expect(rows.map((row) => row.temp).toSorted((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 25 }, (_, at) => at + 1),
    );
    expect(rows[0]).toMatchObject({ board: 'gateway', module: 'n1' });
    expect(await influxWrites()).toBe(3);
    const { origin } = await moduleWith('n1', { received: 25, duplicate: 0, missed: 0 });
    expect(origin).toBe('discovered');
    const { items } = await api('GET', `/v1/tenants/${stack.admin.tenant}/modules`);
    expect(items).toHaveLength(1);
  });

  it('is stored once when it repeats itself; gaps are counted, every property is a metric, rubbish is kept', async () => {
    expect(await post({ device: 'n1', seq: 25, data: { temp: 25 } })).toMatchObject(stored);
    expect(await post({ device: 'n1', seq: 29, data: { temp: 21.5, hum: 40 } })).toMatchObject(stored);
    expect(await post('\u0001 no JSON')).toMatchObject(stored);
    await moduleWith('n1', { received: 26, duplicate: 1, missed: 3, lastSeq: 29 });
    await until('both properties', async () => (await influxPoints()) === 27);
    const last = await influx.query('SELECT LAST(temp), hum FROM n1', database);
    expect(last[0]).toMatchObject({ last: 21.5, hum: 40 });
    const { result } = await api('POST', '/v1/boards/gateway/rpc/gateway.dead_letters', { kwargs: {} });
    expect(result.letters).toMatchObject([{ source: 'coap', reason: 'undecodable' }]);
    const source = await until('its source is counted', async () => {
      const { items } = await api('GET', '/v1/boards/gateway/sources');
      return items.find((each: JsonObject) => each.name === 'coap' && each.received === 28);
    });
    expect(source).toMatchObject({ stored: 26, duplicate: 1, rejected: 1, waiting: 0, balanced: true });
  });
});

describe('devices that speak MQTT and HTTP', () => {
  it('flow the same way: slow control, ChirpStack, values with parity, JSON', async () => {
    const at = Date.now() - 60_000;
    const uplink = JSON.stringify({
      deviceInfo: { devEui: '0101010101010101' },
      time: new Date(at).toISOString(),
      fCnt: 41,
      fPort: 1,
      object: { temperature: 21.5 },
      rxInfo: [{ rssi: -36, snr: 10.5 }],
    });
    const topic = 'application/17/device/0101010101010101/event/up';
    await until('the broker is heard', async () => {
      const { items } = await api('GET', '/v1/boards/gateway/sources');
      return items.some((each: JsonObject) => each.name === 'mqtt' && each.fault === null);
    });
    await broker.publish('/hv/status', '[{"number":0,"on":1,"vreq":100},{"number":1,"on":0,"vreq":0}]');
    await broker.publish('temp/hall', '2150,0,9999,0,2170,1');
    await broker.publish(topic, uplink);
    await broker.publish(topic, uplink);
    expect((await say({ device: 'h1', seq: 1, data: { level: 3 } })).status).toBe(200);

    await moduleWith('0101010101010101', { received: 1, duplicate: 1, lastSeq: 41 });
    await moduleWith('h1', { received: 1 });
    await requireBalance();
    const status = await influx.query('SELECT "ch0.on", "ch0.vreq", "ch1.on" FROM hv', database);
    expect(status).toMatchObject([{ 'ch0.on': true, 'ch0.vreq': 100, 'ch1.on': false }]);
    expect(await influx.query('SELECT "left", "right", roof, replaced FROM hall', database)).toMatchObject([
      { left: 21.5, right: 21.6, roof: 21.7, replaced: 1 },
    ]);
    expect(await influx.query('SELECT temperature FROM "0101010101010101"', database)).toEqual([
      { time: at, temperature: 21.5 },
    ]);
    expect(await influx.query('SELECT level FROM h1', database)).toMatchObject([{ level: 3 }]);
  });
});

describe('InfluxDB and Mosquitto that go away in the middle', () => {
  /** Numbers its messages, and gives them times that differ: two of one millisecond are one point to InfluxDB. */
  function createDevice(name: string) {
    const beganAt = Date.now();
    let seq = 0;
    return {
      name,
      sent: () => seq,
      next() {
        seq += 1;
        return { device: name, seq, time: new Date(beganAt + seq).toISOString(), data: { v: seq } };
      },
    };
  }

  it('lose nothing, and nothing comes twice', async () => {
    const [coap, mqtt, http] = [createDevice('c2'), createDevice('m2'), createDevice('h2')];
    const sender = await connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 50 });
    // It is told of each lost connection, and comes back by itself.
    sender.on('error', () => undefined);
    const promised: Promise<unknown>[] = [];
    let over = false;
    const devices = [
      async () => {
        const body = coap.next();
        while ((await post(body, body.seq)).code !== '2.04');
      },
      async () => {
        promised.push(sender.publishAsync('field', JSON.stringify(mqtt.next()), { qos: 1 }));
        await new Promise((resolve) => setTimeout(resolve, 10));
      },
      async () => expect((await say(http.next())).status).toBe(200),
    ].map(async (step) => {
      while (!over) await step();
    });
    const more = async (count: number) => {
      const before = [coap, mqtt, http].map(({ sent }) => sent() + count);
      const all = [coap, mqtt, http];
      await until('they send on', () => all.every(({ sent }, at) => sent() >= (before[at] ?? 0)), {
        timeoutMs: 20_000,
      });
    };
    try {
      await more(20);
      await influx.down();
      await more(20);
      await broker.restart();
      await more(20);
      await influx.up();
      await more(20);
      await influx.restart();
      await more(20);
    } finally {
      over = true;
      await Promise.all(devices);
    }
    await Promise.all(promised);
    await sender.endAsync();

    for (const { name, sent } of [coap, mqtt, http]) {
      const each = await until(`all of ${name} are stored`, async () => {
        const rows = await rowsOf(`${name}/v`);
        return rows.size === sent() && rows;
      });
      expect([...each.values()].filter((count) => count !== 1)).toEqual([]);
      await moduleWith(name, { received: sent(), missed: 0, lastSeq: sent() });
    }
    await requireBalance();
  }, 180_000);
});
