/** Targets of every kind as the contract needs them: real where there is a real part. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { findFreePort } from '../../../../bin/stack/ports.ts';
import type { SinkConfig } from '../../../../common/sinks/config.ts';
import type { SinkKind } from '../../../../common/sinks/settings.ts';
import type { SinkPoint } from '../../../../conductor/sinks/sink-kind.ts';
import { startInfluxdb } from '../../../harness/influxdb.ts';
import { startMosquitto } from '../../../harness/mosquitto.ts';
import { until } from '../../../harness/until.ts';

export interface Stand {
  kind: SinkKind;
  settings: Record<string, unknown>;
  secrets: Record<string, string>;
  config: SinkConfig;
  /** What is at the target, in order, each as often as it came; influx: each once. */
  values(): Promise<unknown[]>;
  /** A point that it will never take; undefined = it takes everything. */
  poison?: (point: SinkPoint) => SinkPoint;
  down(): Promise<void>;
  up(): Promise<void>;
  stop(): Promise<void>;
}

export function pointOf(seq: number, value: SinkPoint['value'] = seq + 0.5): SinkPoint {
  const type = typeof value === 'string' ? 'text' : typeof value === 'boolean' ? 'boolean' : 'number';
  const stream = type === 'number' ? 'lab 1/level' : `lab 1/${type}`;
  return {
    id: `b:1:${seq}`,
    board: '11111111-1111-4111-8111-111111111111',
    boardName: 'Gate, "north" = 1\\',
    stream,
    type,
    unit: 'm',
    at: 1_790_000_000_000 + seq,
    value,
  };
}

const local = { key: 'k', allowPrivate: true, dir: undefined };

async function influxStand(): Promise<Stand> {
  const admin = { username: 'writer', password: 'p:ä w' };
  const influx = await startInfluxdb({ admin });
  await influx.createDatabase('lab db');
  return {
    kind: 'influx',
    settings: { api: 'v1', url: influx.url, database: 'lab db', username: admin.username },
    secrets: { password: admin.password },
    config: local,
    async values() {
      const rows = await influx.query('SELECT * FROM /.*/', 'lab db');
      return rows
        .sort((left, right) => Number(left.time) - Number(right.time))
        .map((row) => row.level ?? row.boolean ?? row.text ?? row.test);
    },
    // The field is a float there already.
    poison: (point) => ({ ...point, stream: 'lab 1/level', value: 'no number', type: 'text' }),
    down: influx.down,
    up: influx.up,
    stop: influx.stop,
  };
}

export interface StubAnswer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** A server whose answers a test decides. */
export async function startStub(
  answer: (
    body: string,
    headers: NodeJS.Dict<string | string[]>,
    path: string,
  ) => StubAnswer | Promise<StubAnswer>,
) {
  const port = await findFreePort();
  let server: Server | undefined;
  let connections = 0;
  const requests: { body: string; headers: NodeJS.Dict<string | string[]>; path: string }[] = [];
  async function up(): Promise<void> {
    const made = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', async () => {
        const path = request.url ?? '';
        requests.push({ body, headers: request.headers, path });
        const { status, body: said, headers = {} } = await answer(body, request.headers, path);
        response.writeHead(status, headers).end(said === undefined ? '' : JSON.stringify(said));
      });
    });
    made.on('connection', () => {
      connections += 1;
    });
    await new Promise<void>((resolve) => made.listen(port, '127.0.0.1', resolve));
    server = made;
  }
  async function down(): Promise<void> {
    server?.closeAllConnections();
    await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    server = undefined;
  }
  await up();
  return { url: `http://127.0.0.1:${port}`, requests, connections: () => connections, up, down };
}

const valueOfLine = (line: string) => {
  const text = /\S+=("(?:[^"\\]|\\.)*"|\S+) \d+$/.exec(line)?.[1] ?? '';
  if (text.startsWith('"')) return text.slice(1, -1).replaceAll(/\\(.)/g, '$1');
  return text === 'true' || text === 'false' ? text === 'true' : Number(text);
};

/** v2 as documented: 204; 400 `{code, message}` for a point that does not fit, and then nothing is kept. */
async function influxV2Stand(): Promise<Stand> {
  const kept = new Map<string, unknown>();
  const stub = await startStub((body, headers, path) => {
    if (headers.authorization !== 'Token secret-token')
      return { status: 401, body: { code: 'unauthorized', message: 'unauthorized access' } };
    if (path !== '/base/api/v2/write?org=lab&bucket=b+1&precision=ms')
      return { status: 404, body: { code: 'not found', message: path } };
    const lines = body.split('\n');
    if (lines.length > 50) return { status: 413, body: { code: 'request too large', message: 'too large' } };
    if (lines.some((line) => line.includes('no number')))
      return { status: 400, body: { code: 'invalid', message: 'field type conflict' } };
    for (const line of lines) kept.set(line, valueOfLine(line));
    return { status: 204 };
  });
  return {
    kind: 'influx',
    settings: { api: 'v2', url: `${stub.url}/base/`, org: 'lab', bucket: 'b 1' },
    secrets: { token: 'secret-token' },
    config: local,
    values: async () => [...kept.values()],
    poison: (point) => ({ ...point, value: 'no number', type: 'text' }),
    down: stub.down,
    up: stub.up,
    stop: stub.down,
  };
}

async function webhookStand(): Promise<Stand> {
  const values: unknown[] = [];
  const stub = await startStub((body) => {
    const { points } = JSON.parse(body) as { points: SinkPoint[] };
    if (points.some(({ value }) => value === 'no number')) return { status: 422 };
    values.push(...points.map(({ value }) => value));
    return { status: 200 };
  });
  return {
    kind: 'webhook',
    settings: { url: `${stub.url}/in` },
    secrets: { secret: 'a-secret-of-16-or-more' },
    config: local,
    values: async () => values,
    poison: (point) => ({ ...point, value: 'no number', type: 'text' }),
    down: stub.down,
    up: stub.up,
    stop: stub.down,
  };
}

async function mqttStand(): Promise<Stand> {
  const broker = await startMosquitto({
    tls: true,
    passwords: { sink: 'pass word', reader: 'reader' },
    acl: [
      'user sink',
      'topic deny out/+/forbidden/#',
      'topic write out/#',
      'user reader',
      'topic read out/#',
    ],
  });
  const { tls } = broker;
  if (!tls) throw new Error('started without tls');
  const values: unknown[] = [];
  const subscriber = await connectAsync(broker.url, {
    username: 'reader',
    password: 'reader',
    clientId: 'reader',
    clean: false,
    reconnectPeriod: 50,
  });
  subscriber.on('message', (topic, payload) => {
    const point = JSON.parse(payload.toString()) as SinkPoint & { module: string; measurement: string };
    if (topic !== `out/${point.boardName}/${point.module}/${point.measurement}`)
      throw new Error(`unexpected topic ${topic}`);
    values.push(point.value);
  });
  await subscriber.subscribeAsync('out/#', { qos: 1 });
  return {
    kind: 'mqtt',
    settings: {
      url: tls.url,
      topic: 'out/{board}/{module}/{measurement}',
      username: 'sink',
      ca: await readFile(tls.ca, 'utf8'),
    },
    secrets: { password: 'pass word' },
    config: local,
    async values() {
      // What came before it has been delivered when the broker has answered this.
      await subscriber.subscribeAsync(`out/${randomUUID()}`);
      return values;
    },
    // Its user may not publish there, which only MQTT 5 can say.
    poison: (point) => ({ ...point, stream: 'forbidden/level' }),
    down: broker.down,
    async up() {
      await broker.up();
      await until('the subscriber is back', () => subscriber.connected);
      await subscriber.subscribeAsync('out/#', { qos: 1 });
    },
    async stop() {
      await subscriber.endAsync(true);
      await broker.stop();
    },
  };
}

async function fileStand(): Promise<Stand> {
  const root = await mkdtemp(join(tmpdir(), 'boardwalk-sinks-'));
  const dir = join(root, 'sinks');
  return {
    kind: 'file',
    settings: { name: 'readings' },
    secrets: {},
    config: { ...local, dir },
    async values() {
      const values: unknown[] = [];
      for (const folder of await readdir(dir))
        for (const file of (await readdir(join(dir, folder))).sort())
          for (const line of (await readFile(join(dir, folder, file), 'utf8')).split('\n').slice(0, -1))
            values.push((JSON.parse(line) as SinkPoint).value);
      return values;
    },
    async down() {
      // A file in the place of its folder: nothing can be opened below it.
      await rename(dir, `${dir}-away`).catch(() => undefined);
      await writeFile(dir, '');
    },
    async up() {
      await rm(dir, { force: true });
      await rename(`${dir}-away`, dir).catch(() => undefined);
    },
    stop: () => rm(root, { recursive: true, force: true }),
  };
}

/** A target of each kind that a sink can have, by what it is called in tests. */
export const stands = {
  'influx v1': influxStand,
  'influx v2': influxV2Stand,
  webhook: webhookStand,
  mqtt: mqttStand,
  file: fileStand,
};
