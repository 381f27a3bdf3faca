import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { csv, exportRaw, ndjson } from '../../api/readings/raw-export.ts';
import type { Database } from '../../common/db/database.ts';
import { hourMs } from '../../common/db/queries/rollups.ts';
import type { ReadingTuple } from '../../common/wamp/readings.ts';
import { rollDirtyHours } from '../../conductor/tasks/rollups.ts';
import { until } from '../harness/until.ts';
import { createContext, openConductorDatabase } from './conductor/support.ts';
import { openSpool, type TestSpool } from './readings-query-support.ts';
import { type RunningApi, startApi } from './rpc-support.ts';

const gauges = { dirtyHours: { set: () => undefined } } as never;
const declared = [
  { name: 'system/load', type: 'number', unit: '1' },
  { name: 'door/open', type: 'boolean', unit: '' },
  { name: 'system/message', type: 'text', unit: '' },
] as const;
const [load, door, message] = [0, 1, 2];
/** Noon of a day that is over. */
const noon = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 36 * hourMs;

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let api: RunningApi;
let token: string;
let tenant: string;
let board: string;
let spool: TestSpool;
let number = 0;

beforeAll(async () => {
  db = await openConductorDatabase();
  api = await startApi(db.db);
  tenant = await db.rows.tenant();
  token = (await db.rows.key(tenant, { role: 'user_iot' })).token;
});
afterAll(async () => {
  await api.stop();
  await db.close();
});
beforeEach(async () => {
  number += 1;
  board = await db.rows.board(tenant, `board-${number}`);
  spool = await openSpool(db.database, db.connection, board, [...declared]);
});

type Point = (number | boolean | string)[];
interface Answer {
  series: { stream: string; type: string; unit: string; resolution: string; points: Point[] }[];
  next?: string;
}

async function request(path: string, accept = 'application/json'): Promise<Response> {
  return fetch(`${api.url}/v1/boards/${board}/${path}`, {
    headers: { authorization: `Bearer ${token}`, accept },
  });
}
async function get(path: string): Promise<Answer> {
  const response = await request(path);
  const text = await response.text();
  expect([response.status, text.slice(0, 300)]).toEqual([200, expect.anything()]);
  return JSON.parse(text) as Answer;
}
const at = (time: number) => new Date(time).toISOString();
function query(streams: number[], from: number, to: number, more: Record<string, string> = {}): string {
  const parameters = new URLSearchParams({ from: at(from), to: at(to), ...more });
  for (const each of streams) parameters.append('stream', declared[each]?.name ?? '');
  return `readings?${parameters}`;
}

describe('readings', () => {
  it('are raw when they fit, as they were sent, in the order of their time', async () => {
    await spool.append([
      [load, noon + 2000, 2.5],
      [load, noon, -1e-9],
      [load, noon, 7],
      [door, noon, true],
      [door, noon + 1, false],
      [message, noon, 'grüß "Gott"'],
      [load, noon + 3000, 9],
    ]);
    expect(await get(query([message, load, door], noon, noon + 3000))).toEqual({
      series: [
        {
          stream: 'system/message',
          type: 'text',
          unit: '',
          resolution: 'raw',
          points: [[noon, 'grüß "Gott"']],
        },
        {
          ...{ stream: 'system/load', type: 'number', unit: '1', resolution: 'raw' },
          points: [
            [noon, -1e-9],
            [noon, 7],
            [noon + 2000, 2.5],
          ],
        },
        {
          ...{ stream: 'door/open', type: 'boolean', unit: '', resolution: 'raw' },
          points: [
            [noon, true],
            [noon + 1, false],
          ],
        },
      ],
    });
  });

  it('are the last hour when no time is said', async () => {
    const now = Date.now();
    await spool.append([
      [load, now - 3_700_000, 1],
      [load, now - 60_000, 2],
    ]);
    const { series } = await get('readings?stream=system/load');
    expect(series[0]?.points).toEqual([[now - 60_000, 2]]);
  });

  it('become buckets that keep the peaks when they do not fit', async () => {
    const readings = Array.from(
      { length: 600 },
      (_, index): ReadingTuple => [load, noon + index * 1000, index === 333 ? 1000 : 1],
    );
    await spool.append(readings);
    await spool.append([
      [door, noon, true],
      [door, noon + 1, false],
      [door, noon + 2, true],
      [door, noon + 3, true],
    ]);
    const { series, next } = await get(query([load], noon, noon + 600_000, { maxPoints: '10' }));
    expect(next).toBeUndefined();
    expect(series[0]).toMatchObject({ resolution: '60000ms' });
    expect(series[0]?.points).toHaveLength(10);
    expect(series[0]?.points[5]).toEqual([noon + 300_000, 1, (59 + 1000) / 60, 1000, 60]);
    const doors = await get(query([door], noon, noon + 1000, { resolution: '1000ms' }));
    expect(doors.series[0]?.points).toEqual([[noon, 0, 0.75, 1, 4]]);
  });

  it('in buckets equal those computed from raw, whatever came late and whatever was rolled up', async () => {
    const all: { at: number; value: number }[] = [];
    const random = (below: number) => Math.floor(Math.random() * below);
    const span = 60 * hourMs;
    for (let round = 0; round < 12; round += 1) {
      const batch = Array.from({ length: 1 + random(400) }, (): ReadingTuple => {
        const burst = random(2) === 0 ? random(span) : random(3) * 7 * hourMs + random(5000);
        return [load, noon - 30 * hourMs + burst, random(2000) - 1000];
      });
      for (const [, time, value] of batch) all.push({ at: time, value: Number(value) });
      await spool.append(batch);
      if (random(3) > 0) await rollDirtyHours(createContext(db.database), gauges);
      if (random(3) === 0)
        await spool.append([[load, noon + 1, 5]]).then(() => all.push({ at: noon + 1, value: 5 }));
      for (let check = 0; check < 6; check += 1) {
        const from = noon - 31 * hourMs + random(span);
        const to = from + 1 + random([hourMs, 10 * hourMs, span][random(3)] ?? span);
        const resolution = ['1h', '1min', '90s', '6h', 'auto'][random(5)] ?? 'auto';
        const width = { '1h': hourMs, '1min': 60_000, '90s': 90_000, '6h': 6 * hourMs }[resolution];
        const { series } = await get(
          query([load], from, to, { maxPoints: '5000', resolution: width ? `${width}ms` : 'auto' }),
        );
        const found = series[0];
        const inside = all.filter((each) => each.at >= from && each.at < to);
        const expected =
          found?.resolution === 'raw'
            ? inside.sort((a, b) => a.at - b.at).map((each) => each.at)
            : bucketsOf(inside, Number.parseInt(found?.resolution ?? '', 10));
        const got = found?.resolution === 'raw' ? found.points.map(([time]) => time) : found?.points;
        expect([from, to, found?.resolution, got]).toEqual([from, to, found?.resolution, expected]);
      }
    }
  });

  function bucketsOf(readings: { at: number; value: number }[], width: number): Point[] {
    const buckets = new Map<number, number[]>();
    for (const { at: time, value } of readings) {
      const start = time - (time % width);
      buckets.set(start, [...(buckets.get(start) ?? []), value]);
    }
    return [...buckets]
      .sort(([a], [b]) => a - b)
      .map(([start, values]) => {
        const sum = values.reduce((a, b) => a + b, 0);
        return [start, Math.min(...values), sum / values.length, Math.max(...values), values.length];
      });
  }

  it('come in pages when asked for raw, each reading once, complete series left out', async () => {
    const same = Array.from(
      { length: 25 },
      (_, index): ReadingTuple => [load, noon + Math.floor(index / 9), index],
    );
    await spool.append([
      ...same,
      [door, noon, true],
      ...same.map(([, time], index): ReadingTuple => [message, time, `m${index}`]),
    ]);
    const seen: Record<string, Point[]> = {};
    let cursor: string | undefined;
    const sizes: number[] = [];
    do {
      const page = await get(
        query([load, door, message], noon, noon + 10, {
          resolution: 'raw',
          maxPoints: '7',
          ...(cursor && { cursor }),
        }),
      );
      sizes.push(page.series.length);
      for (const { stream, points } of page.series) seen[stream] = [...(seen[stream] ?? []), ...points];
      cursor = page.next;
    } while (cursor !== undefined);
    expect(sizes).toEqual([3, 2, 2, 2]);
    expect(seen['system/load']).toEqual(same.map(([, time, value]) => [time, value]));
    expect(seen['door/open']).toEqual([[noon, true]]);
    expect(seen['system/message']?.map(([, value]) => value)).toEqual(same.map((_, index) => `m${index}`));
  });

  it('of text come in pages beside buckets of numbers', async () => {
    const times = Array.from({ length: 30 }, (_, index) => noon + index * 100);
    await spool.append(
      times.flatMap((time): ReadingTuple[] => [
        [load, time, 1],
        [message, time, 'x'],
      ]),
    );
    const first = await get(query([load, message], noon, noon + 3000, { maxPoints: '20' }));
    expect(first.series.map(({ resolution, points }) => [resolution, points.length])).toEqual([
      ['200ms', 15],
      ['raw', 20],
    ]);
    const second = await get(
      query([load, message], noon, noon + 3000, { maxPoints: '20', cursor: first.next ?? '' }),
    );
    expect(second.series.map(({ stream, points }) => [stream, points.length])).toEqual([
      ['system/message', 10],
    ]);
    expect(second.next).toBeUndefined();
  });

  it('stream raw as NDJSON and as CSV, all of them', async () => {
    const readings = Array.from(
      { length: 1000 },
      (_, index): ReadingTuple => [load, noon + index, index / 3],
    );
    for (let part = 0; part < 12; part += 1)
      await spool.append(
        readings.map(([stream, time, value]): ReadingTuple => [stream, time + part * 1000, value]),
      );
    await spool.append([[message, noon, 'a "b",\nc']]);
    const lines = await request(query([load, message], noon, noon + hourMs), 'application/x-ndjson');
    expect(lines.headers.get('content-type')).toMatch('application/x-ndjson');
    const rows = (await lines.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(rows).toHaveLength(12_001);
    expect(rows[1]).toEqual({ stream: 'system/load', at: noon + 1, value: 1 / 3 });
    expect(rows.slice(0, -1).every((row, index) => row.at === noon + index)).toBe(true);
    expect(rows.at(-1)).toEqual({ stream: 'system/message', at: noon, value: 'a "b",\nc' });
    const table = await (await request(query([message], noon, noon + hourMs), 'text/csv')).text();
    expect(table).toBe(`stream,at,value\r\nsystem/message,${noon},"a ""b"",\nc"\r\n`);
    const empty = await request(query([door], noon, noon + hourMs), 'text/csv');
    expect([empty.status, await empty.text()]).toEqual([200, 'stream,at,value\r\n']);
  });

  it('are no longer read when the client of an export has gone, or is slow', async () => {
    const readings = Array.from(
      { length: 1000 },
      (_, index): ReadingTuple => [message, noon + index, 'x'.repeat(500)],
    );
    for (let part = 0; part < 40; part += 1)
      await spool.append(
        readings.map(([stream, time, value]): ReadingTuple => [stream, time + part * 1000, value]),
      );
    let pages = 0;
    const counting = {
      read: (work, options) => {
        pages += 1;
        return db.database.read(work, options);
      },
    } as Pick<Database, 'read'> as Database;
    const stream = { id: spool.ids[message] ?? 0, name: 'system/message', type: 'text', unit: '' } as const;
    let ended = false;
    const server = createServer((_request, response) => {
      const window = { fromAt: noon, toAt: noon + hourMs };
      const streams = [
        { ...stream, firstAt: noon, lastAt: noon, lastNumber: null, lastText: null, count: 0 },
      ];
      const stopping = new AbortController().signal;
      void exportRaw({ database: counting, response, streams, window, format: ndjson, stopping }).then(() => {
        ended = true;
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const abort = new AbortController();
    const { port } = server.address() as AddressInfo;
    const response = await fetch(`http://127.0.0.1:${port}/`, { signal: abort.signal });
    expect(response.status).toBe(200);
    let before = 0;
    const standsStill = () => {
      const same = pages > 0 && pages === before;
      before = pages;
      return same;
    };
    await until('it waits for the client', standsStill, { everyMs: 300 });
    expect(pages).toBeLessThan(8);
    expect(ended).toBe(false);
    abort.abort();
    await until('it has ended', () => ended);
    expect(pages).toBeLessThan(9);
    await new Promise<void>((resolve) => server.close(() => resolve()));
    expect(csv.mediaType).toBe('text/csv');
  });
});

describe('what cannot be answered', () => {
  const refused = async (path: string) => {
    const response = await request(path);
    const problem = (await response.json()) as {
      code: string;
      errors?: { parameter: string }[];
      streams?: string[];
    };
    expect(response.headers.get('content-type')).toMatch('application/problem+json');
    return [response.status, problem.code, problem.errors?.[0]?.parameter ?? problem.streams?.[0]];
  };

  it('is refused by name', async () => {
    const foreign = await get(query([load], noon, noon + 1));
    expect(foreign.series[0]?.points).toEqual([]);
    expect(await refused('readings')).toEqual([400, 'invalid-request', 'query.stream']);
    expect(await refused('readings?stream=no/such')).toEqual([404, 'not-found', 'no/such']);
    expect(await refused('readings?stream=%E2%82%AC')).toEqual([404, 'not-found', '€']);
    expect(await refused(query([load], noon, noon))).toEqual([400, 'invalid-request', 'query.from']);
    expect(await refused('readings?stream=system/load&from=yesterday')).toEqual([
      400,
      'invalid-request',
      'query.from',
    ]);
    for (const maxPoints of ['0', '5001', 'x'])
      expect(await refused(query([load], noon, noon + 1, { maxPoints }))).toEqual([
        400,
        'invalid-request',
        'query.maxPoints',
      ]);
    for (const resolution of ['0ms', '1h', "1ms' OR 1"])
      expect(await refused(query([load], noon, noon + 1, { resolution }))).toEqual([
        400,
        'invalid-request',
        'query.resolution',
      ]);
    expect(await refused(query([load], noon, noon + hourMs, { resolution: '1ms' }))).toEqual([
      400,
      'invalid-request',
      'query.resolution',
    ]);
    expect(await refused(query([load], noon, noon + 1, { cursor: 'abc' }))).toEqual([
      400,
      'invalid-request',
      'query.cursor',
    ]);
    expect(await refused(query([load], noon, noon + 1, { more: '1' }))).toEqual([
      400,
      'invalid-request',
      'query.more',
    ]);
    expect(await refused('streams?after=abc')).toEqual([400, 'invalid-request', 'query.after']);
  });

  it("includes another board's cursor and another tenant's board", async () => {
    await spool.append(Array.from({ length: 5 }, (_, index): ReadingTuple => [load, noon + index, 1]));
    const { next = '' } = await get(query([load], noon, noon + 10, { resolution: 'raw', maxPoints: '2' }));
    expect(await refused(query([door], noon, noon + 10, { cursor: next }))).toEqual([
      400,
      'invalid-request',
      'query.cursor',
    ]);
    board = await db.rows.board(tenant, 'another');
    await openSpool(db.database, db.connection, board, [...declared]);
    expect(await refused(query([load], noon, noon + 10, { cursor: next }))).toEqual([
      400,
      'invalid-request',
      'query.cursor',
    ]);
    board = await db.rows.board(await db.rows.tenant(), 'foreign');
    for (const path of ['streams', 'completeness', query([load], noon, noon + 10)])
      expect((await refused(path)).slice(0, 2)).toEqual([404, 'board-not-found']);
  });
});

describe('streams and completeness', () => {
  it('show each stream with its first and last reading, page by page', async () => {
    await spool.append([
      [load, noon + 5, 3],
      [load, noon, 1],
      [door, noon, false],
    ]);
    const page = async (path: string) =>
      (await (await request(path)).json()) as { items: unknown[]; next?: string };
    const first = await page('streams?limit=2');
    expect(first.items).toEqual([
      {
        name: 'door/open',
        type: 'boolean',
        unit: '',
        firstAt: at(noon),
        lastAt: at(noon),
        lastValue: false,
        count: 1,
      },
      {
        name: 'system/load',
        type: 'number',
        unit: '1',
        firstAt: at(noon),
        lastAt: at(noon + 5),
        lastValue: 3,
        count: 2,
      },
    ]);
    const second = await page(`streams?limit=2&after=${first.next}`);
    expect(second).toEqual({
      items: [
        {
          name: 'system/message',
          type: 'text',
          unit: '',
          firstAt: null,
          lastAt: null,
          lastValue: null,
          count: 0,
        },
      ],
    });
  });

  it('say what arrived, what was lost and why, and what cannot be known', async () => {
    await spool.append([[load, noon, 1]]);
    await spool.append(
      [
        [load, noon + 1, 1],
        [load, Date.now() + 400 * 86_400_000, 1],
      ],
      7,
    );
    await db.connection.query('UPDATE board_spools SET created_at = created_at - INTERVAL 1 DAY');
    const newer = await openSpool(db.database, db.connection, board, [...declared]);
    const { items } = (await (await request('completeness')).json()) as { items: Record<string, unknown>[] };
    expect(items).toMatchObject([
      { epoch: newer.epoch, ackedSeq: 0, percent: null, gaps: [], beyond: { from: 1, state: 'may-come' } },
      {
        ...{ epoch: spool.epoch, ackedSeq: 10, received: 3, lost: 7, misdated: 1, missing: 0, percent: 30 },
        gaps: [{ from: 2, to: 8, reason: 'spool-overflow', at: expect.any(String) }],
        ...{ gapCount: 1, beyond: { from: 11, state: 'unknown' } },
      },
    ]);
  });
});
