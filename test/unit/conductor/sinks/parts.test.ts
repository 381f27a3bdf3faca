import { describe, expect, it } from 'vitest';
import { createFilter, parseSinkSecrets, parseSinkSettings } from '../../../../common/sinks/settings.ts';
import { checkTemplate } from '../../../../common/sinks/template.ts';
import { writeBisected } from '../../../../conductor/sinks/bisect.ts';
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
  it('asks for few batches, keeps the order of what is taken, and ends when the target cannot', async () => {
    const taken: string[] = [];
    let sent = 0;
    const bad = ['b:1:3', 'b:1:60'];
    const points = Array.from({ length: 64 }, (_, index) => point(index));
    const outcome = await writeBisected(points, async (some) => {
      sent += 1;
      if (some.some(({ id }) => bad.includes(id))) return { outcome: 'refused', reason: 'bad' };
      taken.push(...some.map(({ id }) => id));
      return { outcome: 'taken' };
    });
    expect(outcome).toEqual({
      outcome: 'written',
      rejected: new Map([3, 60].map((index) => [index, 'bad'])),
    });
    expect(taken).toEqual(points.map(({ id }) => id).filter((id) => !bad.includes(id)));
    expect(sent).toBeLessThan(28);
    const retry = { outcome: 'retry', reason: 'away' } as const;
    expect(await writeBisected(points, async () => retry)).toEqual(retry);
  });

  it('blames points only for what is about them', () => {
    const of = (status: number | null, retryAfterMs?: number) =>
      toSendOutcome({ ok: false, status, error: 'x', ...(retryAfterMs !== undefined && { retryAfterMs }) });
    for (const status of [400, 413, 422]) expect(of(status).outcome).toBe('refused');
    for (const status of [301, 401, 403, 404, 408, 429, 500, 503, null])
      expect(of(status).outcome).toBe('retry');
    expect(of(429, 3000)).toMatchObject({ afterMs: 3000, isOpen: false });
    expect(of(null)).toMatchObject({ isOpen: true });
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
    expect(() => parseSinkSecrets('file', {}, { password: 'x' })).toThrow(/password/);
    expect(() => checkTemplate('{board', 'f')).toThrow(/f must close/);
  });

  it('let pass what their filter says', () => {
    const accepts = createFilter({ streams: ['lab/*'], boards: ['b', 'Gate*'] });
    expect(accepts({ uuid: 'b', name: 'x' }, 'lab/level')).toBe(true);
    expect(accepts({ uuid: 'c', name: 'Gate 7' }, 'lab/level')).toBe(true);
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
