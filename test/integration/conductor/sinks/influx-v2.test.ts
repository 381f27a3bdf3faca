/**
 * What InfluxDB v2 is documented to answer to `POST /api/v2/write`, from the outbox to the sink's row:
 * https://docs.influxdata.com/influxdb/v2/write-data/troubleshoot/ (204, 400, 401, 404, 413, 422, 429, 500, 503)
 */
import { describe, expect, it } from 'vitest';
import { sealSecret } from '../../../../common/webhooks/secrets.ts';
import { until } from '../../../harness/until.ts';
import { level, numbers, sinkConfig, type TestSink, useDelivery } from './delivery-support.ts';
import { type StubAnswer, startStub } from './support.ts';

const delivery = useDelivery();
const { setUp, startOne, allGone, expectBalance, cleanUps } = delivery;

const kept: StubAnswer = { status: 204 };
const refuse = (status: number, code: string, message = code, headers = {}): StubAnswer => ({
  status,
  body: { code, message },
  headers,
});

/** Keeps points by their line, as InfluxDB does by series and time. `answer` sees the values of a request. */
async function startInfluxV2(answer: (values: number[], call: number) => StubAnswer = () => kept) {
  const points = new Map<string, number>();
  const calls: { values: number[]; at: number; status: number }[] = [];
  let token = 'right';
  const stub = await startStub((body, headers, path) => {
    if (path !== '/api/v2/write?org=lab&bucket=b&precision=ms') return refuse(404, 'not found', path);
    const lines = body.split('\n');
    const values = lines.map((line) => Number(/=(\S+) \d+$/.exec(line)?.[1]));
    const isKnown = headers.authorization === `Token ${token}`;
    const said = isKnown ? answer(values, calls.length) : refuse(401, 'unauthorized', 'unauthorized access');
    calls.push({ values, at: performance.now(), status: said.status });
    // Of a write that is refused in part the rest is kept: 422, with some products 400.
    const isPart = said.status === 204 || JSON.stringify(said.body).includes('partial write');
    for (const [index, line] of lines.entries())
      if (isPart && !(said.status !== 204 && isWrong(values[index] as number)))
        points.set(line, values[index] as number);
    return said;
  });
  cleanUps.push(stub.down);
  return {
    calls,
    stored: () => [...points.values()],
    settings: { api: 'v2', url: stub.url, org: 'lab', bucket: 'b' },
    setToken(text: string) {
      token = text;
    },
  };
}

const isWrong = (value: number) => value % 10 === 7;
const influxSink = (settings: object, more: object = {}) =>
  setUp({ kind: 'influx', settings, secrets: { token: 'right' }, batchSize: 20, ...more }, [level]);
const reasonsOf = async (sink: TestSink) =>
  delivery.db.value(
    "SELECT GROUP_CONCAT(JSON_VALUE(point, '$.value') ORDER BY id) FROM sink_dead_letters WHERE sink_id = ?",
    [sink.id],
  );

describe('delivery to InfluxDB v2', () => {
  it('halves what is too large (413), and gives up no point but one that is too large alone', async () => {
    const influx = await startInfluxV2((values) =>
      values.length > 6 || values.includes(33) ? refuse(413, 'request too large') : kept,
    );
    const sink = await influxSink(influx.settings);
    await sink.store(50);
    startOne();
    await allGone(sink);
    const rest = numbers(1, 50).filter((each) => each !== 33);
    expect(influx.stored()).toEqual(rest);
    expect(await reasonsOf(sink)).toBe('33');
    expect((await sink.row()).last_error).toMatch(/^answered 413: .*request too large/);
    await expectBalance(sink, { delivered: 49, rejected: 1, lost: 0, duplicate: 0 });
  });

  it.each([
    ['429', 429, 'too many requests', () => '1'],
    ['503', 503, 'unavailable', () => '1'],
    ['503 with a date', 503, 'unavailable', () => new Date(Date.now() + 2000).toUTCString()],
  ])('waits as long as %s asks for, and loses nothing', async (_name, status, code, header) => {
    const influx = await startInfluxV2((_values, call) =>
      call === 1 ? refuse(status, code, code, { 'retry-after': header() }) : kept,
    );
    const sink = await influxSink(influx.settings);
    await sink.store(60);
    startOne();
    const row = await until('it is seen as failing', async () => {
      const found = await sink.row();
      return found.failing_since !== null && found;
    });
    expect(row.last_error).toContain(`answered ${status}`);
    expect(await sink.waiting()).toBe(60);
    await allGone(sink);
    const [, refused, next] = influx.calls;
    // A date has whole seconds.
    expect((next?.at ?? 0) - (refused?.at ?? 0)).toBeGreaterThan(950);
    expect(next?.values).toEqual(refused?.values);
    expect(influx.stored()).toEqual(numbers(1, 60));
    await expectBalance(sink, { delivered: 60, rejected: 0, lost: 0, failing_since: null });
  });

  it('leaves it alone as long as it asked for, also when another conductor takes over', async () => {
    const influx = await startInfluxV2((_values, call) =>
      call === 0 ? refuse(503, 'unavailable', 'later', { 'retry-after': '2' }) : kept,
    );
    const sink = await influxSink(influx.settings);
    await sink.store(20);
    const first = startOne();
    await until('it is seen as failing', async () => (await sink.row()).failing_since !== null);
    await first.stop();
    startOne();
    await allGone(sink);
    const [refused, next] = influx.calls;
    expect((next?.at ?? 0) - (refused?.at ?? 0)).toBeGreaterThan(1900);
    expect(influx.stored()).toEqual(numbers(1, 20));
  });

  it('gets on with a target that takes few requests at a time, each of them small', async () => {
    const influx = await startInfluxV2((values, call) => {
      if (call % 4 === 3) return refuse(429, 'too many requests', 'slow', { 'retry-after': '0' });
      return values.length > 2 ? refuse(413, 'request too large') : kept;
    });
    const sink = await influxSink(influx.settings, { batchSize: 60 });
    await sink.store(60);
    startOne({ retry: { baseMs: 2, capMs: 2 } });
    await allGone(sink);
    expect(influx.stored()).toEqual(numbers(1, 60));
    await expectBalance(sink, { delivered: 60, rejected: 0 });
  });

  it('takes nothing without a right (401), says so, keeps all, and goes on at once with a new token', async () => {
    const influx = await startInfluxV2();
    const sink = await influxSink(influx.settings);
    await sink.store(20);
    startOne({ retry: { baseMs: 60_000, capMs: 60_000 } });
    await allGone(sink);
    influx.setToken('renewed');
    await sink.store(30);
    const row = await until('it is seen as failing', async () => {
      const found = await sink.row();
      return found.failing_since !== null && found;
    });
    expect(row).toMatchObject({ state: 'active', delivered: 20, rejected: 0, duplicate: 0 });
    expect(row.last_error).toBe('answered 401: {"code":"unauthorized","message":"unauthorized access"}');
    expect(row.last_error).not.toContain('right');
    expect(await sink.waiting()).toBe(30);
    expect(influx.calls.filter(({ status }) => status === 401)).toHaveLength(1);
    await sink.set({ secrets: sealSecret(sinkConfig.key, sink.id, '{"token":"renewed"}') });
    await allGone(sink);
    expect(influx.stored()).toEqual(numbers(1, 50));
    await expectBalance(sink, { delivered: 50, rejected: 0, lost: 0, failing_since: null });
  });

  it.each([
    [422, 'unprocessable entity', 'failure writing points to database: partial write: field type conflict'],
    [400, 'invalid', 'partial write of line protocol occurred'],
    [400, 'invalid', 'unable to parse: missing field value'],
  ])(
    'sets aside the point that %i is about, and the rest flows on (%s: %s)',
    async (status, code, message) => {
      const influx = await startInfluxV2((values) =>
        values.some(isWrong) ? refuse(status, code, message) : kept,
      );
      const sink = await influxSink(influx.settings);
      await sink.store(35);
      startOne();
      await allGone(sink);
      const good = numbers(1, 35).filter((each) => !isWrong(each));
      expect(influx.stored().sort((one, other) => one - other)).toEqual(good);
      expect(await reasonsOf(sink)).toBe('7,17,27');
      expect((await sink.row()).last_error).toContain(`answered ${status}`);
      await expectBalance(sink, { delivered: 32, rejected: 3, lost: 0, duplicate: 0 });
    },
  );
});
