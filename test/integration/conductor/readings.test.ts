import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dayMs, listPartitions, startOfDay } from '../../../common/db/queries/partitions.ts';
import { hourMs } from '../../../common/db/queries/rollups.ts';
import type { ReadingTuple } from '../../../common/wamp/readings.ts';
import { clearDeletedBoards } from '../../../conductor/tasks/deleted-boards.ts';
import { planPartitions } from '../../../conductor/tasks/partition-plan.ts';
import { keepPartitions } from '../../../conductor/tasks/partitions.ts';
import { trimStreams } from '../../../conductor/tasks/retention.ts';
import { rollDirtyHours } from '../../../conductor/tasks/rollups.ts';
import { openSpool } from '../readings-query-support.ts';
import { createContext, openConductorDatabase } from './support.ts';

const rules = { retentionDays: 30, auditDays: 400, alarmDays: 90 };
const gauges = {
  dirtyHours: { set: () => undefined },
  partitionDaysAhead: { set: () => undefined },
} as never;
const number = { name: 'system/load', type: 'number', unit: '' } as const;
const text = { name: 'system/state', type: 'text', unit: '' } as const;

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let tenant: string;
let board: string;
/** Start of today. */
let today: number;

beforeEach(async () => {
  db = await openConductorDatabase();
  tenant = await db.rows.tenant();
  board = await db.rows.board(tenant, 'b1');
  today = startOfDay(Date.now());
});
afterEach(() => db.close());

const open = () => openSpool(db.database, db.connection, board, [number, text]);
const count = (table: string, where = '1 = 1') => db.value(`SELECT COUNT(*) FROM ${table} WHERE ${where}`);
/** One reading a minute in each of the days, in both streams. */
const days = (...from: number[]): ReadingTuple[] =>
  from.flatMap((day) =>
    Array.from({ length: 200 }, (_, index): ReadingTuple => {
      const at = today + day * dayMs + Math.floor(index / 2) * 60_000;
      return index % 2 === 0 ? [0, at, index] : [1, at, `s${index}`];
    }),
  );

describe('partitions', () => {
  const keep = () => keepPartitions(createContext(db.database), rules, gauges);

  it('reach ten days ahead, and two conductors at once make each of them once', async () => {
    const [one, two] = await Promise.all([keep(), keep()]);
    expect([one.daysAhead, two.daysAhead]).toEqual([10, 10]);
    const partitions = await db.database.read(listPartitions);
    expect(planPartitions(partitions, Date.now(), 30).add).toEqual([]);
    expect(new Set(partitions.map(({ name }) => name)).size).toBe(partitions.length);
    expect(await keep()).toMatchObject({ added: [], dropped: [] });
  });

  it('go with all of their readings when the retention is over, not a day before', async () => {
    await db.connection.query('ALTER TABLE readings REMOVE PARTITIONING');
    const bounds = [-40, -31, -30, -29, 0, 1].map((day) => today + day * dayMs);
    await db.connection.query(
      `ALTER TABLE readings PARTITION BY RANGE (at) (${bounds.map((at, index) => `PARTITION p${index} VALUES LESS THAN (${at})`)})`,
    );
    const spool = await open();
    await spool.append(days(-45, -32, -31, -30, -1));
    const result = await keep();
    expect(result.dropped).toEqual(['p0', 'p1', 'p2']);
    expect(await db.value('SELECT MIN(at) FROM readings')).toBe(today - 30 * dayMs);
    // Old ones are still accepted, and go at the next occasion.
    await spool.append(days(-50));
    expect(await count('readings', `at < ${today - 40 * dayMs}`)).toBe(200);
  });

  it('hold up the ingest for a moment only, however long a query keeps them waiting', async () => {
    const spool = await open();
    await db.connection.query('START TRANSACTION');
    await db.connection.query('SELECT COUNT(*) FROM readings');
    const change = keep().catch((error: unknown) => error);
    const startedAt = performance.now();
    for (const day of [-1, -2, -3]) await spool.append(days(day));
    expect(performance.now() - startedAt).toBeLessThan(5000);
    expect(await change).toMatchObject({ code: 'unavailable' });
    await db.connection.query('COMMIT');
    expect(await keep()).toMatchObject({ daysAhead: 10 });
  });
});

describe('retention', () => {
  const trim = (context = createContext(db.database)) => trimStreams(context, rules);

  it("of a tenant removes readings and rollups by its days, and puts the streams' first times right", async () => {
    await db.connection.query('UPDATE tenants SET reading_retention_days = 7 WHERE id = ?', [tenant]);
    const other = await db.rows.board(await db.rows.tenant(), 'other');
    const spool = await open();
    const foreign = await openSpool(db.database, db.connection, other, [number]);
    await spool.append(days(-20, -8, -7, -1));
    await foreign.append(days(-20).filter(([stream]) => stream === 0));
    await rollDirtyHours(createContext(db.database), gauges);
    expect(await trim()).toMatchObject({ streams: 2, readings: 400, complete: true });
    const [first] = spool.ids;
    expect(await db.value('SELECT MIN(at) FROM readings WHERE stream_id = ?', [first])).toBe(
      today - 7 * dayMs,
    );
    expect(await db.value('SELECT first_at FROM streams WHERE id = ?', [first])).toBe(today - 7 * dayMs);
    expect(await count('reading_rollups', `stream_id = ${first} AND at < ${today - 7 * dayMs}`)).toBe(0);
    expect(await count('reading_rollups', `stream_id = ${first}`)).toBeGreaterThan(200);
    expect(await count('readings', `stream_id = ${foreign.ids[0]}`)).toBe(100);
    expect(await trim()).toMatchObject({ streams: 0, readings: 0, complete: true });
  });

  it('goes on where a run was stopped', async () => {
    await db.connection.query('UPDATE tenants SET reading_retention_days = 1 WHERE id = ?', [tenant]);
    const spool = await open();
    await spool.append(days(-20, -10, -1));
    let writes = 0;
    const stopped = createContext(db.database, undefined, () => {
      writes += 1;
      if (writes === 3) throw new Error('the lease is gone');
    });
    await expect(trim(stopped)).rejects.toThrow('the lease is gone');
    expect(await trim()).toMatchObject({ complete: true });
    expect(await count('readings', `at < ${today - dayMs}`)).toBe(0);
    expect(await count('streams', `first_at = ${today - dayMs}`)).toBe(2);
    await spool.append(days(-5));
    expect(await count('streams', `first_at = ${today - 5 * dayMs}`)).toBe(2);
  });

  it('of everything leaves a stream with its last value and no first time', async () => {
    const spool = await open();
    await spool.append(days(-60));
    await trim();
    const [stream] = spool.ids;
    expect(await db.value('SELECT first_at FROM streams WHERE id = ?', [stream])).toBeNull();
    expect(await db.value('SELECT last_number FROM streams WHERE id = ?', [stream])).toBe(198);
    await spool.append(days(-2));
    expect(await db.value('SELECT first_at FROM streams WHERE id = ?', [stream])).toBe(today - 2 * dayMs);
  });
});

describe('rollups', () => {
  const roll = () => rollDirtyHours(createContext(db.database), gauges);

  it('hold what the readings of a minute and of an hour add up to', async () => {
    const spool = await open();
    const at = today - dayMs;
    await spool.append([
      [0, at + 500, 4],
      [0, at + 500, -1],
      [0, at + 59_999, 2],
      [0, at + 60_000, 7],
      [1, at, 'not a number'],
    ]);
    expect(await roll()).toMatchObject({ rolled: 1, waiting: 0 });
    const [rows] = await db.connection.query('SELECT * FROM reading_rollups ORDER BY level, at');
    const stream = { stream_id: spool.ids[0] };
    expect(rows).toEqual([
      { ...stream, level: 60, at, reading_count: 3, min: -1, max: 4, sum: 5, first: 4, last: 2 },
      { ...stream, level: 60, at: at + 60_000, reading_count: 1, min: 7, max: 7, sum: 7, first: 7, last: 7 },
      { ...stream, level: 3600, at, reading_count: 4, min: -1, max: 7, sum: 12, first: 4, last: 7 },
    ]);
  });

  it('are made again for what late readings touch, and never for the hour that is running', async () => {
    const spool = await open();
    const at = today - dayMs;
    await spool.append([[0, at, 1]]);
    await roll();
    await spool.append([
      [0, at + 1000, 3],
      [0, Date.now(), 5],
    ]);
    expect(await roll()).toMatchObject({ rolled: 1, waiting: 0 });
    expect(await db.value('SELECT max FROM reading_rollups WHERE level = 3600 AND at = ?', [at])).toBe(3);
    expect(await count('rollup_dirty_hours')).toBe(1);
    expect(await count('reading_rollups', 'level = 3600')).toBe(1);
  });

  it('leave an hour dirty that changed while it was rolled', async () => {
    const spool = await open();
    const at = today - dayMs;
    await spool.append([[0, at, 1]]);
    let late: Promise<void> | undefined;
    const context = createContext(db.database);
    const slow = {
      ...context,
      write: async <T>(work: Parameters<typeof context.write<T>>[0]) => {
        late ??= spool.append([[0, at + 1, 9]]);
        await late;
        return context.write(work);
      },
    };
    await rollDirtyHours(slow, gauges);
    expect(await db.value('SELECT max FROM reading_rollups WHERE level = 3600')).toBe(9);
    expect(await count('rollup_dirty_hours')).toBe(0);
  });

  it('get through a backlog of both ends, each hour once', async () => {
    const spool = await open();
    const hours = Array.from({ length: 300 }, (_, index) => today - dayMs - index * hourMs);
    await spool.append(hours.map((at): ReadingTuple => [0, at, 1]));
    expect(await roll()).toMatchObject({ rolled: 300, failed: 0, waiting: 0 });
    expect(await count('reading_rollups', 'level = 3600')).toBe(300);
  });
});

describe('an hour that cannot be rolled up', () => {
  it('stays dirty and holds up no other', async () => {
    const spool = await open();
    await spool.append(days(-1, -2, -3));
    let writes = 0;
    // The batch fails, and then the first of its hours.
    const context = createContext(db.database, undefined, () => {
      writes += 1;
      if (writes <= 2) throw new Error('this one is broken');
    });
    expect(await rollDirtyHours(context, gauges)).toMatchObject({ rolled: 5, failed: 1, waiting: 1 });
    expect(await rollDirtyHours(createContext(db.database), gauges)).toMatchObject({ rolled: 1, waiting: 0 });
  });

  it('is not one with the largest numbers there are', async () => {
    const spool = await open();
    const at = today - dayMs;
    await spool.append([
      [0, at, Number.MAX_VALUE],
      [0, at + 60_000, Number.MAX_VALUE],
    ]);
    const run = await rollDirtyHours(createContext(db.database), gauges);
    expect(run).toMatchObject({ rolled: 1, failed: 0 });
    expect(await db.value('SELECT max FROM reading_rollups WHERE level = 3600')).toBe(Number.MAX_VALUE);
  });
});

describe('a deleted board', () => {
  it('leaves nothing behind after a while, and other boards keep all', async () => {
    const other = await db.rows.board(tenant, 'other');
    const kept = await openSpool(db.database, db.connection, other, [number]);
    const spool = await open();
    await spool.append(days(-1, -2), 5);
    await spool.append([[0, Date.now() + 400 * dayMs, 1]]);
    await kept.append(days(-1).filter(([stream]) => stream === 0));
    await db.rows.session(board);
    await rollDirtyHours(createContext(db.database), gauges);
    await db.connection.query('DELETE FROM boards WHERE uuid = ?', [board]);
    await db.connection.query(
      'INSERT INTO deleted_boards (board_uuid, tenant_id, deleted_at) VALUES (?, ?, UTC_TIMESTAMP(3) - INTERVAL 30 SECOND)',
      [board, tenant],
    );
    const clear = () => clearDeletedBoards(createContext(db.database));
    expect(await clear()).toMatchObject({ boards: 0 });
    await db.connection.query('UPDATE deleted_boards SET deleted_at = deleted_at - INTERVAL 1 MINUTE');
    expect(await clear()).toMatchObject({ boards: 1, complete: true });
    expect(await count('readings')).toBe(100);
    expect(await count('streams')).toBe(1);
    expect(await count('board_spools')).toBe(1);
    for (const table of ['reading_gaps', 'misdated_readings', 'board_sessions', 'deleted_boards'])
      expect([table, await count(table)]).toEqual([table, 0]);
    expect(await count('reading_rollups', `stream_id <> ${kept.ids[0]}`)).toBe(0);
  });
});
