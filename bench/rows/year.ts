/** A year of one stream at one reading a second: drawn from rollups, and streamed raw. */
import { randomUUID } from 'node:crypto';
import { get } from 'node:http';
import type { RowDataPacket } from 'mysql2/promise';
import type { BenchContext } from '../context.ts';
import { median, timeSequential } from '../measure.ts';
import { usageOf } from '../processes.ts';
import { createResult, type Result } from '../results.ts';

const secondMs = 1000;
const dayMs = 86_400_000;
const days = 365;
/** Statements of days at a time: a month in one transaction would only fill the undo log. */
const daysPerStatement = 5;
const streamSeconds = 15;
/** The value of a second, in SQL: a day's curve with noise and, now and then, a peak. */
const value = (second: string) =>
  `20 + 5 * SIN(${second} / 13751) + RAND(${second}) + IF(${second} % 100003 = 0, 50, 0)`;

interface Year {
  board: string;
  stream: string;
  fromAt: number;
  toAt: number;
}

export async function measureYear(context: BenchContext): Promise<Result[]> {
  const year = await makeYear(context);
  const query = new URLSearchParams({
    stream: year.stream,
    from: new Date(year.fromAt).toISOString(),
    to: new Date(year.toAt).toISOString(),
    maxPoints: '1000',
  });
  const path = `/v1/boards/${year.board}/readings`;
  let points = 0;
  const times = await timeSequential(15, async () => {
    const answer = await getJson(context, `${path}?${query}`);
    points = answer.series[0]?.points.length ?? 0;
  });
  if (points < 300) throw new Error(`a year in ${points} points`);
  query.delete('maxPoints');
  const { rows, growth } = await streamRaw(context, `${path}?${query}`);
  return [
    createResult(
      {
        name: 'readings.query.year',
        unit: 'ms',
        value: median(times),
        note: `${points} points, first ${times[0]?.toFixed(0)} ms`,
      },
      { atMost: 200 },
    ),
    createResult({ name: 'readings.query.stream', unit: 'readings/s', value: rows / streamSeconds }),
    createResult(
      {
        name: 'readings.query.stream.memory',
        unit: 'MB',
        value: growth,
        note: 'growth of the api while it streams',
      },
      { atMost: 100 },
    ),
  ];
}

async function makeYear({ database, register }: BenchContext): Promise<Year> {
  const [board] = await register(1);
  if (board === undefined) throw new Error('no board');
  const toAt = Math.floor(Date.now() / dayMs) * dayMs;
  const fromAt = toAt - days * dayMs;
  const stream = 'bench/year';
  await database.query('INSERT INTO streams SET ?', [
    {
      board_uuid: board.uuid,
      name: stream,
      type: 'number',
      unit: 'Cel',
      first_at: fromAt,
      last_at: toAt - secondMs,
      last_number: 20,
      reading_count: (days * dayMs) / secondMs,
      created_at: new Date(),
    },
  ]);
  const [[row]] = await database.query<RowDataPacket[]>('SELECT id FROM streams WHERE board_uuid = ?', [
    board.uuid,
  ]);
  await database.query('INSERT INTO board_spools SET ?', [
    { board_uuid: board.uuid, epoch: randomUUID(), created_at: new Date(), updated_at: new Date() },
  ]);
  const secondsPerStatement = (daysPerStatement * dayMs) / secondMs;
  for (let first = 0; first < (days * dayMs) / secondMs; first += secondsPerStatement) {
    await database.query(
      `INSERT INTO readings (stream_id, at, spool_id, seq, value_number)
       SELECT ?, ? + seq * 1000, 1, seq + 1, ${value('seq')} FROM seq_${first}_to_${first + secondsPerStatement - 1}`,
      [row?.id, fromAt],
    );
  }
  await rollUp(database, Number(row?.id), fromAt);
  return { board: board.uuid, stream, fromAt, toAt };
}

/** As the conductor would have done hour by hour: minutes of readings, hours of minutes. */
async function rollUp(database: BenchContext['database'], streamId: number, fromAt: number): Promise<void> {
  const columns =
    'INSERT INTO reading_rollups (stream_id, level, at, reading_count, min, max, sum, first, last)';
  for (let day = 0; day < days; day += daysPerStatement) {
    const [from, to] = [fromAt + day * dayMs, fromAt + (day + daysPerStatement) * dayMs];
    await database.query(
      `${columns} SELECT stream_id, 60, at - at % 60000, COUNT(*), MIN(value_number), MAX(value_number),
              SUM(value_number), MIN(value_number), MAX(value_number)
       FROM readings WHERE stream_id = ? AND at >= ? AND at < ? GROUP BY at - at % 60000`,
      [streamId, from, to],
    );
  }
  await database.query(
    `${columns} SELECT stream_id, 3600, at - at % 3600000, SUM(reading_count), MIN(min), MAX(max), SUM(sum), MIN(first), MAX(last)
     FROM reading_rollups WHERE stream_id = ? AND level = 60 GROUP BY at - at % 3600000`,
    [streamId],
  );
}

interface Readings {
  series: { points: unknown[] }[];
}

async function getJson({ stack }: BenchContext, path: string): Promise<Readings> {
  const response = await fetch(`${stack.apiUrl}${path}`, {
    headers: { authorization: `Bearer ${stack.admin.apiKey}` },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return JSON.parse(text) as Readings;
}

/** Reads for some seconds, then leaves. */
function streamRaw(context: BenchContext, path: string): Promise<{ rows: number; growth: number }> {
  const { stack } = context;
  const memory = () => usageOf(context.pid('api')).residentMegabytes;
  const before = memory();
  let peak = before;
  let rows = 0;
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${stack.admin.apiKey}`, accept: 'application/x-ndjson' };
    const outgoing = get(`${stack.apiUrl}${path}`, { headers, agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${path}: ${response.statusCode}`));
      response.on('data', (chunk: Buffer) => {
        for (const byte of chunk) if (byte === 10) rows += 1;
      });
      response.on('error', () => undefined);
    });
    outgoing.on('error', reject);
    const watch = setInterval(() => {
      peak = Math.max(peak, memory());
    }, 250);
    setTimeout(() => {
      clearInterval(watch);
      outgoing.off('error', reject).on('error', () => undefined);
      outgoing.destroy();
      resolve({ rows, growth: peak - before });
    }, streamSeconds * 1000);
  });
}
