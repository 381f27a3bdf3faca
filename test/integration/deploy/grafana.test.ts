/** The dashboards of `npm run grafana`, made from a real API; their queries run on real databases. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';
import { startInfluxdb, type TestInfluxdb } from '../../harness/influxdb.ts';
import { connectAdministrator } from '../../harness/mariadb.ts';
import { runProgram } from '../../harness/run-program.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { type Chosen, expandInfluxql, expandSql, type PanelTime } from './grafana-macros.ts';

const hourMs = 3_600_000;
const grafanaPassword = 'only-for-this-test';
/** Three whole hours that are over. */
const startAt = Math.floor(Date.now() / hourMs) * hourMs - 3 * hourMs;

let api: TestApi;
let influx: TestInfluxdb;
let dir: string;
let out: string;
let tenant: string;
let board: string;
let other: string;

beforeAll(async () => {
  [api, influx, dir] = await Promise.all([
    startTestApi(),
    startInfluxdb(),
    mkdtemp(join(tmpdir(), 'boardwalk-grafana-')),
  ]);
  out = join(dir, 'grafana');
  tenant = await api.rows.tenant('lyon');
  board = await api.rows.board(tenant, { name: 'gw 1' });
  other = await api.rows.board(await api.rows.tenant('elsewhere'), { name: 'gw-x' });
  await influx.createDatabase('readings');
  await writeFile(join(dir, 'key'), `${(await api.rows.key(tenant, { role: 'user_iot' })).token}\n`);
  await fill();
}, 180_000);
afterAll(async () => {
  await Promise.all([api?.stop(), influx?.stop()]);
  if (dir !== undefined) await rm(dir, { recursive: true, force: true });
});

interface Reading {
  at: number;
  value: number;
}

/** One a half minute over three hours. */
const readings = (scale: number): Reading[] =>
  Array.from({ length: 360 }, (_, index) => ({ at: startAt + index * 30_000, value: scale * (index % 100) }));

async function addStream(boardUuid: string, name: string, type: string, unit: string, text?: string) {
  const [result] = await api.rows.insert('streams', {
    board_uuid: boardUuid,
    name,
    type,
    unit,
    first_at: startAt,
    last_at: startAt + 1000,
    ...(text !== undefined && { last_text: text }),
    created_at: new Date(),
  });
  return result.insertId;
}

async function addReadings(streamId: number, values: readonly Reading[]): Promise<void> {
  await api.connection.query('INSERT INTO readings (stream_id, at, spool_id, seq, value_number) VALUES ?', [
    values.map(({ at, value }, index) => [streamId, at, 1, index + 1, value]),
  ]);
}

/** The first two hours only by their rollups, the third is dirty: only its readings count. */
async function roll(streamId: number): Promise<void> {
  for (const level of [60, 3600])
    await api.connection.query(
      `INSERT INTO reading_rollups (stream_id, level, at, reading_count, min, max, sum, first, last)
       SELECT stream_id, ?, at - at MOD (? * 1000) AS start, COUNT(*), MIN(value_number), MAX(value_number),
              SUM(value_number), 0, 0 FROM readings WHERE stream_id = ? GROUP BY start`,
      [level, level, streamId],
    );
  const dirtyAt = startAt + 2 * hourMs;
  await api.connection.query(
    'UPDATE reading_rollups SET sum = -1, max = -1 WHERE stream_id = ? AND at >= ?',
    [streamId, dirtyAt],
  );
  await api.rows.insert('rollup_dirty_hours', { stream_id: streamId, hour_at: dirtyAt });
  await api.connection.query('DELETE FROM readings WHERE stream_id = ? AND at < ?', [streamId, dirtyAt]);
}

async function fill(): Promise<void> {
  const lines: string[] = [];
  for (const [module, scale] of [
    ['sensor_1', 1],
    ['sensor_2', 2],
  ] as const) {
    const fresh = await addStream(board, `${module}/fresh`, 'number', 'Cel');
    await addReadings(fresh, readings(scale));
    // Nobody has rolled it up yet.
    for (const hour of [0, 1, 2])
      await api.rows.insert('rollup_dirty_hours', { stream_id: fresh, hour_at: startAt + hour * hourMs });
    const rolled = await addStream(board, `${module}/old`, 'number', '%');
    await addReadings(rolled, readings(scale));
    await roll(rolled);
    for (const { at, value } of readings(scale))
      lines.push(
        `${module},board=gw\\ 1,board_id=${board},module=${module} fresh=${value},old=${value} ${at}`,
      );
  }
  const flags = readings(1).map(({ at, value }) => ({ at, value: value % 10 === 0 ? 1 : 0 }));
  await addReadings(await addStream(board, 'hv/on', 'boolean', ''), flags);
  await addStream(board, 'hv/state', 'text', '', "ramping 'up'");
  for (const { at, value } of flags) lines.push(`hv,board=gw\\ 1,module=hv on=${value === 1} ${at}`);
  lines.push(`hv,board=gw\\ 1,module=hv state="ramping 'up'" ${startAt}`);
  await api.rows.insert('modules', {
    board_uuid: board,
    tenant_id: tenant,
    name: 'hv',
    kind: 'crate',
    created_at: new Date(),
    updated_at: new Date(),
  });
  // Another tenant has what looks the same.
  await addReadings(await addStream(other, 'sensor_9/fresh', 'number', 'Cel'), readings(9));
  const answer = await fetch(`${influx.url}/write?db=readings&precision=ms`, {
    method: 'POST',
    body: lines.join('\n'),
  });
  expect(answer.status).toBe(204);
}

const generate = (...more: string[]) =>
  runProgram(
    process.execPath,
    [
      join(repositoryRoot, 'bin/grafana.ts'),
      ...['--url', api.url, '--key-file', join(dir, 'key'), '--tenant', 'lyon', '--out', out],
      ...more,
    ],
    { timeoutMs: 120_000 },
  );

interface Panel {
  title: string;
  targets: { rawSql: string; query: string }[];
}

interface Dashboard {
  templating: { list: { name: string; query: string; regex: string }[] };
  panels: Panel[];
}

const load = async (name: string): Promise<Dashboard> =>
  JSON.parse(await readFile(join(out, 'dashboards', `boardwalk-${name}.json`), 'utf8'));

function targetOf(dashboard: Dashboard, title: string) {
  const target = dashboard.panels.find((panel) => panel.title === title)?.targets[0];
  if (!target) throw new Error(`no panel ${title}`);
  return target;
}

const time = (intervalMs: number): PanelTime => ({
  fromMs: startAt,
  toMs: startAt + 3 * hourMs - 1,
  intervalMs,
});

/** Means by interval, as `<epoch seconds> <value>`. */
function means(values: readonly Reading[], intervalMs: number): string[] {
  const buckets = new Map<number, number[]>();
  for (const { at, value } of values) {
    const start = at - (at % intervalMs);
    buckets.set(start, [...(buckets.get(start) ?? []), value]);
  }
  return [...buckets].map(
    ([at, all]) => `${at / 1000} ${(all.reduce((sum, each) => sum + each, 0) / all.length).toFixed(6)}`,
  );
}

describe('the generator', () => {
  it('writes the same twice, and takes away what it does not write any more', async () => {
    const first = await generate();
    expect(first, first.stderr).toMatchObject({ code: 0 });
    expect(first.stdout).toMatch(/kinds of modules: crate \(1\), sensor \(2\)/);
    const read = async () =>
      Promise.all(
        (await readdir(out, { recursive: true, withFileTypes: true }))
          .filter((each) => each.isFile())
          .map((each) => join(each.parentPath, each.name))
          .sort()
          .map(async (path) => `${path}\n${await readFile(path, 'utf8')}`),
      );
    const before = await read();
    await writeFile(join(out, 'dashboards/boardwalk-gone-mysql.json'), '{}');
    await writeFile(join(out, 'dashboards/mine.json'), '{}');
    await generate();
    expect((await read()).filter((each) => !each.includes('mine.json'))).toEqual(before);
    expect(await readdir(join(out, 'dashboards'))).toContain('mine.json');
  }, 120_000);

  it('says what is wrong with its arguments, the key and the tenant', async () => {
    expect(await generate('--data-sources', 'oracle')).toMatchObject({ code: 64, stderr: /usage/ });
    expect(await generate('--tenant', 'nowhere')).toMatchObject({ code: 1, stderr: /404/ });
    await writeFile(join(dir, 'wrong'), 'bw_x');
    expect(await generate('--key-file', join(dir, 'wrong'))).toMatchObject({ code: 1, stderr: /401/ });
  }, 120_000);
});

describe('the SQL of the dashboards', () => {
  const rows = async (sql: string) => (await api.connection.query<RowDataPacket[]>(sql))[0];
  const chosen = (): Chosen => ({ board: [board], module: ['sensor_1', 'sensor_2'] });

  it('fills the variables with the boards of the tenant and the modules of the kind', async () => {
    await generate();
    const [boards, modules] = (await load('sensor-mysql')).templating.list;
    expect(await rows(expandSql(boards?.query ?? '', time(1000), {}))).toEqual([
      { __text: 'gw 1', __value: board },
    ]);
    const found = await rows(expandSql(modules?.query ?? '', time(1000), { board: [board, other] }));
    expect(found.map((row) => Object.values(row)[0])).toEqual(['sensor_1', 'sensor_2']);
    const crate = (await load('crate-mysql')).templating.list[1];
    const crates = await rows(expandSql(crate?.query ?? '', time(1000), { board: [board] }));
    expect(crates.map((row) => Object.values(row)[0])).toEqual(['hv']);
  }, 120_000);

  it.each([10_000, 30_000, 60_000, 300_000, hourMs])(
    'gives the means of intervals of %i ms, from readings and from rollups',
    async (intervalMs) => {
      const dashboard = await load('sensor-mysql');
      for (const title of ['fresh [Cel]', 'old [%]']) {
        // Of the rolled-up stream only the last hour has readings left.
        const isOld = title.startsWith('old') && intervalMs < 60_000;
        const wanted = readings(2).filter(({ at }) => !isOld || at >= startAt + 2 * hourMs);
        const sql = expandSql(targetOf(dashboard, title).rawSql, time(intervalMs), chosen());
        const found = (await rows(sql)).filter((row) => row.metric === 'gw 1 sensor_2');
        expect(
          found.map((row) => `${Number(row.time)} ${Number(row.value).toFixed(6)}`),
          title,
        ).toEqual(means(wanted, intervalMs));
      }
    },
  );

  it('says of booleans whether they were true, and shows the last texts', async () => {
    const dashboard = await load('crate-mysql');
    const crate = { board: [board], module: ['hv'] };
    const flags = await rows(expandSql(targetOf(dashboard, 'on').rawSql, time(30_000), crate));
    expect(flags).toHaveLength(360);
    expect(flags.filter((row) => Number(row.value) === 1)).toHaveLength(36);
    expect(await rows(expandSql(targetOf(dashboard, 'state').rawSql, time(1000), crate))).toEqual([
      { time: (startAt + 1000) / 1000, board: 'gw 1', module: 'hv', value: "ramping 'up'" },
    ]);
  });

  it('shows nothing of another tenant, whatever is put into the variables', async () => {
    const dashboard = await load('sensor-mysql');
    for (const board of [[other], [other, "' OR 1 = 1 -- "]]) {
      const sql = expandSql(targetOf(dashboard, 'fresh [Cel]').rawSql, time(60_000), {
        board,
        module: ['sensor_9'],
      });
      expect(await rows(sql)).toEqual([]);
    }
  });

  it('runs as the user of the documentation, who may read nothing else', async () => {
    const page = await readFile(join(repositoryRoot, 'docs/grafana.md'), 'utf8');
    const commands = /^```sql\n(.*?)^```/ms.exec(page)?.[1] ?? '';
    const [[row]] = await api.connection.query<RowDataPacket[]>('SELECT DATABASE() AS name');
    const script = commands.replaceAll('boardwalk.', `${row?.name}.`).replace('…', grafanaPassword);
    const administrator = await connectAdministrator();
    for (const statement of script.split(';\n').filter((each) => each.trim() !== ''))
      await administrator.query(statement);
    const { hostname: host, port, pathname } = new URL(api.databaseUrl);
    const grafana = await createConnection({
      ...{ host, port: Number(port), database: pathname.slice(1) },
      ...{ user: 'grafana', password: grafanaPassword },
    });
    try {
      for (const name of ['sensor', 'crate']) {
        const { templating, panels } = await load(`${name}-mysql`);
        const queries = [
          ...templating.list.map(({ query }) => query),
          ...panels.flatMap(({ targets }) => targets.map(({ rawSql }) => rawSql)),
        ];
        expect(queries.length).toBeGreaterThan(3);
        for (const query of queries)
          for (const intervalMs of [10_000, 60_000, hourMs])
            await grafana.query(
              expandSql(query, time(intervalMs), { board: [board], module: ['sensor_1', 'hv'] }),
            );
      }
      const granted = [...commands.matchAll(/GRANT SELECT ON boardwalk\.(\w+) TO/g)].map((match) => match[1]);
      const [tables] = await api.connection.query<RowDataPacket[]>('SHOW TABLES');
      const others = tables
        .map((each) => String(Object.values(each)[0]))
        .filter((each) => !granted.includes(each));
      expect(others).toContain('users');
      for (const table of others)
        await expect(grafana.query(`SELECT * FROM ${table} LIMIT 1`), table).rejects.toMatchObject({
          errno: 1142,
        });
      for (const table of granted)
        await expect(grafana.query(`DELETE FROM ${table}`), table).rejects.toMatchObject({ errno: 1142 });
    } finally {
      await grafana.end();
      await administrator.query("DROP USER 'grafana'@'%'");
      await administrator.end();
    }
  });
});

describe('the InfluxQL of the dashboards', () => {
  const chosen: Chosen = { board: ['gw 1'], module: ['sensor_1', 'sensor_2'] };

  it('fills the variables', async () => {
    const [boards, modules] = (await load('sensor-influxdb')).templating.list;
    expect(await values(boards?.query ?? '')).toEqual(['gw 1']);
    const pattern = /^\/(.*)\/$/.exec(modules?.regex ?? '')?.[1] ?? '';
    const found = await values(expandInfluxql(modules?.query ?? '', time(1000), chosen));
    expect(found).toEqual(['hv', 'sensor_1', 'sensor_2']);
    expect(found.filter((each) => new RegExp(pattern).test(each))).toEqual(['sensor_1', 'sensor_2']);
  });

  it.each([30_000, 300_000, hourMs])('gives the means of intervals of %i ms', async (intervalMs) => {
    const { query } = targetOf(await load('sensor-influxdb'), 'fresh [Cel]');
    for (const module of [['sensor_2'], ['sensor_1', 'sensor_2']]) {
      const found = await influx.query(
        expandInfluxql(query, time(intervalMs), { board: ['gw 1'], module }),
        'readings',
      );
      const mine = found.filter((row) => row.module === 'sensor_2' && row.board === 'gw 1');
      expect(mine.map((row) => `${Number(row.time) / 1000} ${Number(row.mean).toFixed(6)}`)).toEqual(
        means(readings(2), intervalMs),
      );
    }
  });

  it('shows the last of booleans and of texts', async () => {
    const dashboard = await load('crate-influxdb');
    const crate = { board: ['gw 1'], module: ['hv'] };
    const flags = await influx.query(
      expandInfluxql(targetOf(dashboard, 'on').query, time(30_000), crate),
      'readings',
    );
    expect(flags.filter((row) => row.last === true)).toHaveLength(36);
    expect(
      await influx.query(expandInfluxql(targetOf(dashboard, 'state').query, time(1000), crate), 'readings'),
    ).toMatchObject([{ board: 'gw 1', module: 'hv', value: "ramping 'up'" }]);
  });

  const values = async (query: string) =>
    [...new Set((await influx.query(query, 'readings')).map((row) => String(row.value)))].sort();
});
