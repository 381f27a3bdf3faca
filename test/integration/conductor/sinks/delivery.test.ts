/** From the outbox to targets: batches, order, faults, and that every reading is accounted for. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readFlow } from '../../../../common/db/queries/flow.ts';
import { addConsumer, findStandings } from '../../../../common/db/queries/outbox.ts';
import type { StreamDeclaration } from '../../../../common/wamp/readings.ts';
import { sealSecret } from '../../../../common/webhooks/secrets.ts';
import type { SinkPoint } from '../../../../conductor/sinks/sink-kind.ts';
import { type Sinks, type SinksSettings, startSinks } from '../../../../conductor/sinks/sinks.ts';
import { findSinkStandings } from '../../../../conductor/sinks/standings.ts';
import { trimDeadLetters } from '../../../../conductor/tasks/sink-letters.ts';
import { startFaultyProxy } from '../../../harness/faulty-proxy.ts';
import { startInfluxdb, type TestInfluxdb } from '../../../harness/influxdb.ts';
import { until } from '../../../harness/until.ts';
import { openSpool } from '../../readings-query-support.ts';
import { relayKey } from '../../rpc-support.ts';
import { createContext, openConductorDatabase, silent } from '../support.ts';
import { type StubAnswer, startStub } from './support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let influx: TestInfluxdb;
const cleanUps: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  [db, influx] = await Promise.all([openConductorDatabase(), startInfluxdb()]);
});
afterEach(async () => {
  for (const each of cleanUps.splice(0).reverse()) await each();
  await db.connection.query("UPDATE sinks SET state = 'paused'");
});
afterAll(async () => {
  await influx?.stop();
  await db?.close();
});

const config = { key: relayKey, allowPrivate: true, dir: undefined };
const level: StreamDeclaration = { name: 'lab/level', type: 'number', unit: 'm' };
const start = Date.now() - 3_600_000;

interface SinkOptions {
  kind?: string;
  settings: object;
  secrets?: object;
  batchSize?: number;
  maxAgeMs?: number;
  filter?: object;
  key?: string;
}

async function setUp(options: SinkOptions, streams: StreamDeclaration[] = [level]) {
  const { kind = 'webhook', secrets = { secret: 'a-secret-of-16-or-more' }, key = config.key } = options;
  const tenantId = await db.rows.tenant();
  const board = await db.rows.board(tenantId, 'gateway');
  const id = randomUUID();
  const now = new Date();
  await db.database.read((manager) => addConsumer(manager, { id, tenantId, kind: 'sink' }));
  await db.connection.query('INSERT INTO sinks SET ?', [
    {
      id,
      tenant_id: tenantId,
      name: 'out',
      kind,
      settings: JSON.stringify(options.settings),
      secrets: sealSecret(key, id, JSON.stringify(secrets)),
      filter: JSON.stringify(options.filter ?? {}),
      batch_size: options.batchSize ?? 10,
      max_age_ms: options.maxAgeMs ?? 300,
      created_by: 'test',
      created_at: now,
      updated_at: now,
    },
  ]);
  const spool = await openSpool(db.database, db.connection, board, streams);
  let seq = 0;
  return {
    id,
    /** So many readings in one stored batch; their values are 1, 2, 3 … */
    async store(count: number, stream = 0) {
      await spool.append(
        Array.from({ length: count }, () => {
          seq += 1;
          return [stream, start + seq, seq] as [number, number, number];
        }),
      );
    },
    spool,
    async row() {
      const [rows] = await db.connection.query(
        'SELECT s.*, c.taken, c.lost FROM sinks s JOIN reading_consumers c ON c.id = s.id WHERE s.id = ?',
        [id],
      );
      // biome-ignore lint/suspicious/noExplicitAny: looked into by expectations
      return (rows as any[])[0];
    },
    async waiting() {
      return (await db.database.read((manager) => findStandings(manager, [id]))).get(id)?.waiting ?? 0;
    },
    set: (columns: object) =>
      db.connection.query('UPDATE sinks SET ?, version = version + 1 WHERE id = ?', [columns, id]),
  };
}

type TestSink = Awaited<ReturnType<typeof setUp>>;

function startOne(settings: Partial<SinksSettings> = {}): Sinks {
  const sinks = startSinks({
    database: db.database,
    logger: silent,
    config,
    conductorId: randomUUID(),
    settings: { lookEveryMs: 50, retry: { baseMs: 50, capMs: 200 }, ...settings },
  });
  cleanUps.push(() => sinks.stop(500));
  return sinks;
}

async function startReceiver(
  answer: (points: SinkPoint[], call: number) => StubAnswer = () => ({ status: 204 }),
) {
  const batches: number[][] = [];
  const stub = await startStub((body) => {
    const { points } = JSON.parse(body) as { points: SinkPoint[] };
    const said = answer(points, batches.length);
    batches.push(points.map(({ value }) => Number(value)));
    return said;
  });
  cleanUps.push(stub.down);
  return { ...stub, batches, values: () => batches.flat() };
}

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

async function allGone(sink: TestSink) {
  await until('nothing waits', async () => (await sink.waiting()) === 0, { timeoutMs: 20_000 });
}

/** Everything that left the outbox is found in one of the counts. */
async function expectBalance(sink: TestSink, counts: Record<string, number>) {
  const row = await sink.row();
  expect(row).toMatchObject(counts);
  expect(row.taken).toBe(row.delivered + row.rejected + row.skipped + row.lost);
  const hops = await db.database.read((manager) => readFlow(manager, { tenantId: row.tenant_id }));
  const received = row.delivered + row.rejected + row.lost;
  expect(hops[2]).toMatchObject({ hop: 'sinks', received, stored: row.delivered, difference: 0 });
}

describe('delivery to a sink', () => {
  it('writes 25 readings in batches of 10, 10 and 5, the last when it is old enough', async () => {
    const receiver = await startReceiver();
    const sink = await setUp({ settings: { url: receiver.url }, maxAgeMs: 1500 });
    for (let batch = 0; batch < 5; batch += 1) await sink.store(5);
    const storedAt = performance.now();
    const sinks = startOne();
    sinks.wake([sink.id]);
    await until('two batches', () => receiver.batches.length === 2);
    expect(performance.now() - storedAt).toBeLessThan(1400);
    await allGone(sink);
    expect(performance.now() - storedAt).toBeGreaterThan(1000);
    expect(receiver.batches).toEqual([numbers(1, 10), numbers(11, 20), numbers(21, 25)]);
    await expectBalance(sink, { delivered: 25, rejected: 0, skipped: 0, lost: 0, duplicate: 0 });
  });

  it('splits large batches of the outbox, also where their ends do not meet', async () => {
    const receiver = await startReceiver();
    const sink = await setUp({ settings: { url: receiver.url }, batchSize: 100 });
    for (const count of [1, 250, 999, 3]) await sink.store(count);
    startOne();
    await allGone(sink);
    expect(receiver.values()).toEqual(numbers(1, 1253));
    expect(receiver.batches.map((each) => each.length)).toEqual([...Array(12).fill(100), 53]);
  });

  it('passes over what its filter leaves out', async () => {
    const receiver = await startReceiver();
    const other = { name: 'lab/other', type: 'number', unit: '' } as const;
    const filter = { streams: ['*/level'] };
    const sink = await setUp({ settings: { url: receiver.url }, filter }, [level, other]);
    await sink.store(3);
    await sink.store(4, 1);
    await sink.store(2);
    startOne();
    await allGone(sink);
    expect(receiver.values()).toEqual([1, 2, 3, 8, 9]);
    await expectBalance(sink, { delivered: 5, skipped: 4 });
  });

  it('waits as long as the target asks, in order, and says so', async () => {
    let refusals = 2;
    const receiver = await startReceiver(() => {
      refusals -= 1;
      return refusals >= 0 ? { status: 429, headers: { 'retry-after': '1' }, body: 'slow' } : { status: 200 };
    });
    const sink = await setUp({ settings: { url: receiver.url }, batchSize: 5 });
    await sink.store(12);
    const begun = performance.now();
    startOne();
    await until('it is seen as failing', async () => (await sink.row()).failing_since !== null);
    expect(await sink.row()).toMatchObject({ last_error: 'answered 429: "slow"', delivered: 0 });
    await allGone(sink);
    expect(performance.now() - begun).toBeGreaterThan(1900);
    expect(receiver.values()).toEqual([...numbers(1, 5), ...numbers(1, 5), ...numbers(1, 12)]);
    expect(await sink.row()).toMatchObject({ delivered: 12, failing_since: null, retry_at: null });
  });

  it('keeps what was refused as dead letters, and sends them again when asked', async () => {
    let isMended = false;
    const receiver = await startReceiver((points) => ({
      status: !isMended && points.some(({ value }) => Number(value) % 10 === 7) ? 400 : 200,
    }));
    const sink = await setUp({ settings: { url: receiver.url } });
    await sink.store(30);
    startOne();
    await allGone(sink);
    await expectBalance(sink, { delivered: 27, rejected: 3 });
    const letters =
      "SELECT GROUP_CONCAT(JSON_VALUE(point, '$.value') ORDER BY id) FROM sink_dead_letters WHERE sink_id = ?";
    expect(await db.value(letters, [sink.id])).toBe('7,17,27');
    isMended = true;
    await db.connection.query("UPDATE sink_dead_letters SET kind = 'replay' WHERE sink_id = ?", [sink.id]);
    await until('they are gone', async () => (await db.value(letters, [sink.id])) === null);
    expect(
      receiver
        .values()
        .filter((each) => each % 10 === 7)
        .slice(-3),
    ).toEqual([7, 17, 27]);
    await expectBalance(sink, { delivered: 30, rejected: 0 });
  });

  it('bounds its dead letters, and counts what is dropped', async () => {
    const receiver = await startReceiver(() => ({ status: 422 }));
    const sink = await setUp({ settings: { url: receiver.url } });
    await sink.store(9);
    startOne();
    await allGone(sink);
    expect(await trimDeadLetters(createContext(db.database), 4)).toEqual({ dropped: 5 });
    expect(await sink.row()).toMatchObject({ rejected: 9, dropped_letters: 5 });
    const standing = (await db.database.read(findSinkStandings)).find(({ id }) => id === sink.id);
    expect(standing).toMatchObject({ kind: 'webhook', waiting: 0, deadLetters: 4, lost: 0 });
  });

  it('sends nothing while it is paused, and is disabled when its secrets cannot be read', async () => {
    const receiver = await startReceiver();
    const sink = await setUp({ settings: { url: receiver.url }, key: 'another key' });
    await sink.set({ state: 'paused' });
    await sink.store(5);
    startOne();
    const other = await setUp({ settings: { url: receiver.url } });
    await other.store(1);
    await allGone(other);
    expect(await sink.waiting()).toBe(5);
    await sink.set({ state: 'active' });
    await until('it is disabled', async () => (await sink.row()).state === 'disabled');
    expect((await sink.row()).state_reason).toMatch(/secrets/);
    expect(await sink.waiting()).toBe(5);
  });

  it('takes a change of its settings while it fails', async () => {
    const receiver = await startReceiver();
    const sink = await setUp({ settings: { url: 'http://127.0.0.1:9/' } });
    await sink.store(3);
    startOne({ retry: { baseMs: 60_000, capMs: 120_000 } });
    await until('it fails', async () => (await sink.row()).failing_since !== null);
    await sink.set({ settings: JSON.stringify({ url: receiver.url }) });
    await allGone(sink);
    expect(receiver.values()).toEqual([1, 2, 3]);
  });

  it('is done by one conductor at a time, each reading once, also when they come and go', async () => {
    const receiver = await startReceiver();
    const sink = await setUp({ settings: { url: receiver.url }, batchSize: 7 });
    const first = startOne();
    startOne();
    for (let batch = 0; batch < 20; batch += 1) {
      await sink.store(11);
      if (batch === 10) await first.stop();
      if (batch === 12) startOne();
    }
    await allGone(sink);
    expect(receiver.values()).toEqual(numbers(1, 220));
    await expectBalance(sink, { delivered: 220, duplicate: 0 });
  });
});

async function influxSink(database: string, url = influx.url, more: Partial<SinkOptions> = {}) {
  await influx.createDatabase(database);
  const settings = { api: 'v1', url, database };
  return setUp({ kind: 'influx', settings, secrets: {}, batchSize: 20, ...more });
}

const countIn = async (database: string) =>
  Number((await influx.query('SELECT COUNT(level) AS n FROM lab', database))[0]?.n ?? 0);

describe('delivery to InfluxDB', () => {
  it('loses and doubles nothing when InfluxDB is restarted in the middle of a stream', async () => {
    const sink = await influxSink('restarts');
    startOne({ timeoutMs: 1000 });
    for (let batch = 0; batch < 40; batch += 1) {
      await sink.store(25);
      if (batch === 10) await influx.down();
      if (batch === 30) await influx.up();
    }
    await allGone(sink);
    expect(await countIn('restarts')).toBe(1000);
    await expectBalance(sink, { delivered: 1000, rejected: 0, lost: 0 });
  });

  it('sets points aside whose type conflicts, and lets the rest flow on', async () => {
    await influx.createDatabase('conflicts');
    const seed = await fetch(`${influx.url}/write?db=conflicts&precision=ms`, {
      method: 'POST',
      body: `lab wrong="text" ${start}`,
    });
    expect(seed.status).toBe(204);
    const wrong = { name: 'lab/wrong', type: 'number', unit: '' } as const;
    const settings = { api: 'v1', url: influx.url, database: 'conflicts' };
    const sink = await setUp({ kind: 'influx', settings, secrets: {} }, [level, wrong]);
    for (let batch = 0; batch < 4; batch += 1) {
      await sink.store(9);
      await sink.store(1, 1);
    }
    startOne();
    await allGone(sink);
    expect(await countIn('conflicts')).toBe(36);
    await expectBalance(sink, { delivered: 36, rejected: 4 });
    expect((await sink.row()).last_error).toMatch(/field type conflict/);
  });

  it('gets all to one that answers late, however late at first', async () => {
    const proxy = await startFaultyProxy({ port: Number(new URL(influx.url).port) });
    cleanUps.push(proxy.close);
    proxy.setMode({ delayMs: 300 });
    const sink = await influxSink('late', `http://127.0.0.1:${proxy.port}`);
    await sink.store(45);
    startOne({ timeoutMs: 150, longestTimeoutMs: 5000 });
    await allGone(sink);
    expect(await countIn('late')).toBe(45);
    // What was written although its word came too late is written again.
    await expectBalance(sink, { delivered: 45, rejected: 0, lost: 0 });
    expect((await sink.row()).last_error).toMatch(/no answer within/);
  });

  it('ends up equal when a conductor is killed between the write and its record', async () => {
    const conductors: ChildProcess[] = [];
    let kills = 2;
    // In front of InfluxDB: what is written stays written, but its word does not come back.
    const port = new URL(influx.url).port;
    const { createServer } = await import('node:http');
    const between = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const url = `http://127.0.0.1:${port}${request.url}`;
      const answer = await fetch(url, { method: 'POST', body: Buffer.concat(chunks).toString('utf8') });
      if (kills > 0 && answer.status === 204) {
        kills -= 1;
        conductors.at(-1)?.kill('SIGKILL');
      }
      response.writeHead(answer.status).end(await answer.text());
    });
    await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
    const { port: ownPort } = between.address() as { port: number };
    cleanUps.push(async () => {
      between.closeAllConnections();
      await new Promise((resolve) => between.close(resolve));
    });
    const sink = await influxSink('kills', `http://127.0.0.1:${ownPort}`);
    for (let batch = 0; batch < 10; batch += 1) await sink.store(30);
    for (let life = 0; life < 3; life += 1) {
      const child = spawn(process.execPath, ['conductor/main.ts'], {
        env: {
          ...process.env,
          DATABASE_URL: db.url,
          BOARDWALK_RELAY_KEY: relayKey,
          BOARDWALK_SINK_ALLOW_PRIVATE: '1',
          BOARDWALK_LOG_LEVEL: 'error',
        },
        stdio: 'ignore',
      });
      conductors.push(child);
      const exited = once(child, 'exit');
      cleanUps.push(async () => {
        child.kill('SIGKILL');
        await exited;
      });
      if (life < 2) await exited;
    }
    await until('nothing waits', async () => (await sink.waiting()) === 0, { timeoutMs: 60_000 });
    expect(kills).toBe(0);
    expect(await countIn('kills')).toBe(300);
    await expectBalance(sink, { delivered: 300, rejected: 0, lost: 0 });
    const last = conductors.at(-1);
    last?.kill('SIGTERM');
    await until('it stops in peace', () => last?.exitCode === 0);
  });
});
