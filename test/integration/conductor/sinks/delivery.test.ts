/** From the outbox to targets: batches, order, faults, and that every reading is accounted for. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findSinkStandings } from '../../../../conductor/sinks/standings.ts';
import { createOutboxClearing, limitOutbox } from '../../../../conductor/tasks/outbox.ts';
import { trimDeadLetters } from '../../../../conductor/tasks/sink-letters.ts';
import { startFaultyProxy } from '../../../harness/faulty-proxy.ts';
import { startInfluxdb, type TestInfluxdb } from '../../../harness/influxdb.ts';
import { until } from '../../../harness/until.ts';
import { relayKey } from '../../rpc-support.ts';
import { createContext } from '../support.ts';
import { level, numbers, type SinkOptions, start, useDelivery } from './delivery-support.ts';

let influx: TestInfluxdb;
const delivery = useDelivery();
const { setUp, startOne, startReceiver, allGone, expectBalance, cleanUps } = delivery;

beforeAll(async () => {
  influx = await startInfluxdb();
});
afterAll(async () => {
  await influx?.stop();
});

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
    expect(await delivery.db.value(letters, [sink.id])).toBe('7,17,27');
    isMended = true;
    await delivery.db.connection.query("UPDATE sink_dead_letters SET kind = 'replay' WHERE sink_id = ?", [
      sink.id,
    ]);
    await until('they are gone', async () => (await delivery.db.value(letters, [sink.id])) === null);
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
    expect(await trimDeadLetters(createContext(delivery.db.database), 4)).toEqual({ dropped: 5 });
    expect(await sink.row()).toMatchObject({ rejected: 9, dropped_letters: 5 });
    const standing = (await delivery.db.database.read(findSinkStandings)).find(({ id }) => id === sink.id);
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
    const audit =
      "SELECT CONCAT(actor, ' ', tenant_id) FROM audit_events WHERE action = 'disableSink' AND target = ?";
    expect(await delivery.db.value(audit, [sink.id])).toBe(`conductor ${sink.tenantId}`);
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

  it('is not held up by sinks whose targets are away, nor by those that wait for more', async () => {
    const receiver = await startReceiver();
    const away = { settings: { url: 'http://127.0.0.1:9/' } };
    const slow = { settings: { url: receiver.url }, maxAgeMs: 600_000, batchSize: 1000 };
    const others = [await setUp(away), await setUp(away), await setUp(slow), await setUp(slow)];
    for (const each of others) await each.store(3);
    startOne({ atOnce: 2, retry: { baseMs: 120_000, capMs: 120_000 } });
    for (const each of others.slice(0, 2))
      await until('it fails', async () => (await each.row()).failing_since !== null);
    const sink = await setUp({ settings: { url: receiver.url } });
    await sink.store(3);
    await allGone(sink);
    expect(receiver.values()).toEqual([1, 2, 3]);
    // Nothing was sent, so nothing is sent again.
    expect(await others[0]?.row()).toMatchObject({ duplicate: 0, delivered: 0 });
  });

  it('leaves out what a new filter leaves out, also of what was taken out before', async () => {
    let isAway = true;
    const taken: number[] = [];
    const receiver = await startReceiver((points, call) => {
      if (isAway && call > 0) return { status: 503 };
      taken.push(...points.map(({ value }) => Number(value)));
      return { status: 200 };
    });
    const other = { name: 'lab/other', type: 'number', unit: '' } as const;
    const sink = await setUp({ settings: { url: receiver.url }, batchSize: 4 }, [level, other]);
    await sink.store(6);
    await sink.store(3, 1);
    await sink.store(2);
    startOne({ retry: { baseMs: 60_000, capMs: 60_000 } });
    await until('it is away', async () => (await sink.row()).failing_since !== null);
    isAway = false;
    await sink.set({ filter: JSON.stringify({ streams: ['lab/other'] }) });
    await allGone(sink);
    expect(taken).toEqual([1, 2, 3, 4, 7, 8, 9]);
    await expectBalance(sink, { delivered: 7, skipped: 4 });
  });

  it('stops soon when it is paused, however much it has taken out, and goes on from there', async () => {
    const receiver = await startReceiver(async () => {
      await sleep(100);
      return { status: 200 };
    });
    const sink = await setUp({ settings: { url: receiver.url }, batchSize: 5 });
    for (let batch = 0; batch < 50; batch += 1) await sink.store(5);
    const sinks = startOne();
    await until('it writes', () => receiver.batches.length === 2);
    await sink.set({ state: 'paused' });
    await until('it rests', () => sinks.inFlight() === 0);
    expect(receiver.batches.length).toBeLessThan(25);
    expect(await sink.waiting()).toBe(250 - receiver.values().length);
    await sink.set({ state: 'active' });
    await allGone(sink);
    expect(receiver.values()).toEqual(numbers(1, 250));
  });

  it.each([
    ['deleted', ['sinks', 'reading_consumers'], 'id'],
    ['deleted with its tenant', ['boards', 'tenants'], 'tenant'],
  ] as const)(
    'writes nothing more of a sink that was %s, and keeps nothing for it',
    async (_how, tables, by) => {
      const receiver = await startReceiver(async () => {
        await sleep(100);
        return { status: 200 };
      });
      const sink = await setUp({ settings: { url: receiver.url }, batchSize: 5 });
      await sink.store(500);
      const sinks = startOne();
      await until('it writes', () => receiver.batches.length === 2);
      const owner = { id: ['id', sink.id], tenant: ['tenant_id', sink.tenantId] }[by];
      for (const table of tables)
        await delivery.db.connection.query('DELETE FROM ?? WHERE ?? = ?', [
          table,
          table === 'tenants' ? 'id' : owner[0],
          owner[1],
        ]);
      await until('the work ended', () => sinks.inFlight() === 0);
      expect(receiver.batches.length).toBeLessThan(25);
      const context = createContext(delivery.db.database);
      await limitOutbox(context, { readings: 1000, ageSeconds: 3600 });
      await createOutboxClearing()(context);
      expect(await sink.waiting()).toBe(0);
      const rows = 'SELECT COUNT(*) FROM reading_outbox WHERE tenant_id = ?';
      expect(await delivery.db.value(rows, [sink.tenantId])).toBe(0);
    },
  );

  it('loses nothing when a conductor loses its sink in the middle of a write', async () => {
    const gate = Promise.withResolvers<void>();
    const receiver = await startReceiver(async (_points, call) => {
      if (call === 0) await gate.promise;
      return { status: 200 };
    });
    const sink = await setUp({ settings: { url: receiver.url } });
    for (let batch = 0; batch < 4; batch += 1) await sink.store(10);
    const first = startOne();
    await until('it writes', () => receiver.batches.length === 1);
    const lose = 'UPDATE leases SET owner = NULL, until_at = NULL WHERE name = ?';
    await delivery.db.connection.query(lose, [`sink:${sink.id}`]);
    startOne();
    await allGone(sink);
    gate.resolve();
    await until('the first gave up', () => first.inFlight() === 0);
    const values = receiver.values();
    expect(values.slice(0, 50)).toEqual([...numbers(1, 10), ...numbers(1, 40)]);
    // Until it wants to record something, the first does not know.
    expect(values.slice(50)).toEqual(numbers(11, values.length - 40));
    await expectBalance(sink, { delivered: 40, rejected: 0, lost: 0 });
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

  it('writes names that would make a comment of the line, and sets aside a field that cannot be', async () => {
    await influx.createDatabase('names');
    const time = { name: 'lab/time', type: 'number', unit: '' } as const;
    const settings = { api: 'v1', url: influx.url, database: 'names', measurement: '#{module}' };
    const sink = await setUp({ kind: 'influx', settings, secrets: {} }, [level, time]);
    await sink.store(3);
    await sink.store(2, 1);
    startOne();
    await allGone(sink);
    expect(await influx.query('SELECT COUNT(level) AS n FROM "_lab"', 'names')).toMatchObject([{ n: 3 }]);
    await expectBalance(sink, { delivered: 3, rejected: 2 });
    expect((await sink.row()).last_error).toMatch(/invalid field name/);
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
          DATABASE_URL: delivery.db.url,
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
