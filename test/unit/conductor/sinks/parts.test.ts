import { describe, expect, it } from 'vitest';
import {
  createFilter,
  parseSinkFilter,
  parseSinkSecrets,
  parseSinkSettings,
} from '../../../../common/sinks/settings.ts';
import { checkTemplate } from '../../../../common/sinks/template.ts';
import { createBisected, type SendOutcome } from '../../../../conductor/sinks/bisect.ts';
import { toSendOutcome } from '../../../../conductor/sinks/http-outcome.ts';
import { toLine, writeUrl } from '../../../../conductor/sinks/influx.ts';
import { formatLine } from '../../../../conductor/sinks/line-protocol.ts';
import { topicOf } from '../../../../conductor/sinks/mqtt.ts';
import type { SinkPoint } from '../../../../conductor/sinks/sink-kind.ts';
import { deliveryId } from '../../../../conductor/sinks/webhook.ts';

const point = (seq: number, more: Partial<SinkPoint> = {}): SinkPoint => ({
  id: `b:1:${seq}`,
  board: 'b',
  boardName: 'Gate 1',
  stream: 'lab/level/max',
  type: 'number',
  unit: 'm',
  at: 1000 + seq,
  value: seq,
  ...more,
});

describe('a line for InfluxDB', () => {
  it('escapes what the protocol gives a meaning', () => {
    const tags = [
      ['a,b', 'c d=e'],
      ['empty', ''],
      ['end', 'x\\\\'],
      ['lines', 'a\nb'],
    ] as const;
    expect(formatLine({ measurement: 'm, 1', tags, field: 'f=1,2 3', value: 'say "hi" \\', at: 5 })).toBe(
      'm\\,\\ 1,a\\,b=c\\ d\\=e,end=x__,lines=a\\ b f\\=1\\,2\\ 3="say \\"hi\\" \\\\" 5',
    );
  });

  it('is never a comment', () => {
    const line = { tags: [], field: 'f', value: 1, at: 5 };
    expect(formatLine({ measurement: '#1 #', ...line })).toBe('_1\\ # f=1 5');
  });

  it('names measurement and tags by the point, and booleans as they are wanted', () => {
    const settings = { measurement: '{board}.{module}', booleans: 'number' } as const;
    expect(toLine(point(1, { value: true, type: 'boolean' }), settings)).toBe(
      'Gate\\ 1.lab,board=Gate\\ 1,board_id=b,module=lab level/max=1 1001',
    );
    expect(toLine(point(1, { value: true }), { ...settings, booleans: 'boolean' })).toMatch(
      /level\/max=true /,
    );
  });

  it('is written to the documented addresses, without the login in them', () => {
    const v1 = parseSinkSettings('influx', { url: 'http://i:1/x/', database: 'd b', username: 'u' });
    expect(writeUrl(v1)).toBe('http://i:1/x/write?db=d+b&precision=ms');
    const v2 = parseSinkSettings('influx', { api: 'v2', url: 'http://i:1', org: 'o', bucket: 'b' });
    expect(writeUrl(v2)).toBe('http://i:1/api/v2/write?org=o&bucket=b&precision=ms');
  });
});

describe('finding the points that are refused', () => {
  const { signal } = new AbortController();
  it('asks for few batches, keeps the order of what is taken, and ends when the target cannot', async () => {
    const taken: string[] = [];
    let sent = 0;
    const bad = ['b:1:3', 'b:1:60'];
    const points = Array.from({ length: 64 }, (_, index) => point(index));
    const write = createBisected(async (some) => {
      sent += 1;
      if (some.some(({ id }) => bad.includes(id))) return { outcome: 'refused', reason: 'bad' };
      taken.push(...some.map(({ id }) => id));
      return { outcome: 'taken' };
    });
    const outcome = await write(points, signal);
    expect(outcome).toEqual({
      outcome: 'written',
      rejected: new Map([3, 60].map((index) => [index, 'bad'])),
    });
    expect(taken).toEqual(points.map(({ id }) => id).filter((id) => !bad.includes(id)));
    expect(sent).toBeLessThan(28);
    const retry = { outcome: 'retry', reason: 'away' } as const;
    expect(await createBisected(async () => retry)(points, signal)).toEqual(retry);
  });

  it('says what is dealt with when the target cannot any more in the middle', async () => {
    const answers: SendOutcome[] = [
      { outcome: 'refused', reason: 'bad' },
      { outcome: 'taken' },
      { outcome: 'refused', reason: 'bad' },
      { outcome: 'refused', reason: 'bad' },
      { outcome: 'retry', reason: 'slow' },
    ];
    const write = createBisected(async () => answers.shift() as SendOutcome);
    expect(
      await write(
        [0, 1, 2, 3].map((seq) => point(seq)),
        signal,
      ),
    ).toEqual({
      outcome: 'retry',
      reason: 'slow',
      settled: { count: 3, rejected: new Map([[2, 'bad']]) },
    });
  });

  it('remembers how many a target takes at once, and tries more by and by', async () => {
    const sizes: number[] = [];
    const write = createBisected(async ({ length }) => {
      sizes.push(length);
      return length > 10 ? { outcome: 'refused', reason: '', isTooLarge: true } : { outcome: 'taken' };
    });
    const batch = Array.from({ length: 40 }, (_, index) => point(index));
    for (let time = 0; time < 50; time += 1)
      expect(await write(batch, signal)).toEqual({ outcome: 'written', rejected: new Map() });
    const refused = sizes.filter((size) => size > 10);
    expect(sizes.slice(0, 4)).toEqual([40, 20, 10, 10]);
    expect(Math.max(...refused.slice(2))).toBe(11);
    // Halving every batch anew would have three of seven refused.
    expect(refused.length / sizes.length).toBeLessThan(0.2);
  });

  it('blames points only for what is about them', () => {
    const of = (status: number | null, retryAfterMs?: number) =>
      toSendOutcome({ ok: false, status, error: 'x', ...(retryAfterMs !== undefined && { retryAfterMs }) });
    for (const status of [400, 413, 422]) expect(of(status).outcome).toBe('refused');
    for (const status of [301, 401, 403, 404, 408, 429, 500, 503, null])
      expect(of(status).outcome).toBe('retry');
    expect(of(429, 3000)).toMatchObject({ afterMs: 3000, isOpen: false });
    expect(of(413)).toMatchObject({ isTooLarge: true });
    expect(of(null)).toMatchObject({ isOpen: false });
    const sent = toSendOutcome({ ok: false, status: null, error: 'no answer', isSent: true });
    expect(sent).toMatchObject({ isOpen: true });
  });
});

describe('settings of sinks', () => {
  const settings = (kind: 'influx' | 'mqtt' | 'file' | 'webhook', value: unknown) => () =>
    parseSinkSettings(kind, value);
  it('name the field that is wrong', () => {
    expect(settings('influx', { url: 'http://a' })).toThrow(/settings.database/);
    expect(settings('influx', { url: 'http://a', database: 'd', org: 'o' })).toThrow(/settings.org/);
    expect(settings('influx', { url: 'http://u:p@a', database: 'd' })).toThrow(/settings.url/);
    expect(settings('influx', { url: 'http://a', database: 'd', measurement: '{x}' })).toThrow(/measurement/);
    expect(settings('mqtt', { url: 'http://a' })).toThrow(/settings.url/);
    expect(settings('mqtt', { url: 'mqtt://a', topic: 'a/#' })).toThrow(/settings.topic/);
    expect(settings('mqtt', { url: 'mqtt://a', ca: 'x' })).toThrow(/settings.ca/);
    expect(settings('file', { name: '../x' })).toThrow(/settings.name/);
    expect(settings('webhook', { url: 'ftp://a' })).toThrow(/settings.url/);
    expect(settings('webhook', { url: 'http://a', extra: 1 })).toThrow(/extra/);
    expect(() => parseSinkSecrets('webhook', {}, {})).toThrow(/secrets.secret/);
    expect(() => parseSinkSecrets('influx', { api: 'v2' }, {})).toThrow(/secrets.token/);
    expect(() => parseSinkSecrets('influx', { api: 'v2' }, { token: 'tökén' })).toThrow(
      /^secrets.token must match/,
    );
    expect(settings('influx', { url: 'http://a', database: 'd', username: 'u:v' })).toThrow(
      /settings.username/,
    );
    expect(() => parseSinkSecrets('file', {}, { password: 'x' })).toThrow(/password/);
    expect(() => checkTemplate('{board', 'f')).toThrow(/f must close/);
    expect(() => parseSinkFilter({ streams: ['a/b', 'temp'] })).toThrow(
      /^filter.streams\[1\] must be a name/,
    );
    expect(() => parseSinkFilter({ boards: [''] })).toThrow(/^filter.boards\[0\] must have 1 to 150/);
  });

  it('let pass what their filter says', () => {
    const accepts = createFilter({ streams: ['lab/*'], boards: ['b', 'Gate*'] });
    expect(accepts({ uuid: 'b', name: 'x' }, 'lab/level')).toBe(true);
    expect(accepts({ uuid: 'c', name: 'Gate 7' }, 'lab/level')).toBe(true);
    expect(accepts({ uuid: 'c', name: 'Gate 7/north' }, 'lab/level')).toBe(true);
    expect(accepts({ uuid: 'c', name: 'x' }, 'lab/level')).toBe(false);
    expect(accepts({ uuid: 'b', name: 'x' }, 'system/load')).toBe(false);
    expect(createFilter({})({ uuid: 'b', name: 'x' }, 'a/b')).toBe(true);
  });
});

it('topics and delivery ids follow from the points', () => {
  const topic = '{board}/{module}/{measurement}';
  expect(topicOf(point(1, { boardName: 'a/b+#' }), { topic })).toBe('a_b__/lab/level/max');
  expect(deliveryId('s', [point(1), point(2)])).toBe(deliveryId('s', [point(1), point(2)]));
  expect(deliveryId('s', [point(1), point(2)])).not.toBe(deliveryId('s', [point(1), point(3)]));
});
