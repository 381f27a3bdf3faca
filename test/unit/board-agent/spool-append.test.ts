import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SpoolTransaction } from '../../../board-agent/spool/appends.ts';
import { createSpool, type Spool, type SpoolOptions } from '../../../board-agent/spool/spool.ts';
import { createFakeClock, type FakeClock, silent } from './fakes.ts';

const boardUuid = randomUUID();
const device = { name: 'n1/count', type: 'number', unit: '' } as const;
const sampled = { name: 'host/count', type: 'number', unit: '' } as const;
const dayMs = 86_400_000;

let dir: string;
let clock: FakeClock;
let spools: Spool[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-append-'));
  clock = createFakeClock();
  spools = [];
});

afterEach(() => {
  vi.restoreAllMocks();
  for (const spool of spools) spool.close();
  rmSync(dir, { recursive: true });
});

function open(options: Partial<SpoolOptions> = {}): Spool {
  const path = join(dir, 'spool.db');
  const limits = { maxBytes: 50_000_000, maxAgeMs: 30 * dayMs };
  const spool = createSpool({ path, boardUuid, limits, clock, logger: silent, ...options });
  spools.push(spool);
  return spool;
}

function close(spool: Spool): void {
  spool.close();
  spools = spools.filter((each) => each !== spool);
}

const put = (value: number) => (tx: SpoolTransaction) => {
  tx.add({ stream: device, at: clock.now(), value });
  return value;
};

/** Text of a failure, or what it resolved to. */
const outcome = (promise: Promise<unknown>) =>
  promise.then(String, (error) => `${error.code ?? error.message}`);

/** Everything that is on disk, [seq, stream, value], also what peek does not reach. */
function stored(spool: Spool): Promise<[number, string, number][]> {
  return spool.append(({ db }) =>
    db
      .prepare('SELECT seq, name, value FROM readings JOIN streams ON streams.id = stream ORDER BY seq')
      .all()
      .map((row) => [Number(row.seq), String(row.name), Number(row.value)]),
  );
}

const valuesOf = async (spool: Spool, name: string) =>
  (await stored(spool)).filter((each) => each[1] === name).map((each) => each[2]);

/** The file cannot grow any more. */
const stopGrowth = (spool: Spool) =>
  spool.append(
    ({ db }) => void db.exec(`PRAGMA max_page_count = ${db.prepare('PRAGMA page_count').get()?.page_count}`),
  );
const letGrow = (spool: Spool) =>
  spool.append(({ db }) => void db.exec('PRAGMA max_page_count = 1073741823'));

function breakDisk(statement: 'BEGIN' | 'COMMIT'): () => void {
  const { exec } = DatabaseSync.prototype;
  const broken = vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function (
    this: DatabaseSync,
    sql,
  ) {
    if (sql.startsWith(statement)) throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
    exec.call(this, sql);
  });
  return () => broken.mockRestore();
}

describe('appending to the spool', () => {
  it('commits what comes in one turn of the event loop together, in order, without waiting for the tick', async () => {
    const spool = open();
    const exec = vi.spyOn(DatabaseSync.prototype, 'exec');
    const results = await Promise.all([1, 2, 3, 4, 5].map((value) => spool.append(put(value))));
    expect(exec.mock.calls.filter(([sql]) => sql === 'COMMIT')).toHaveLength(1);
    expect(results).toEqual([1, 2, 3, 4, 5]);
    expect(spool.peek(10)).toMatchObject({
      from: 1,
      readings: [1, 2, 3, 4, 5].map((value) => [0, clock.now(), value]),
    });
  });

  it('has resolved nothing that a killed process does not find again', async () => {
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, 'append-writer.ts'), join(dir, 'spool.db'), boardUuid],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let printed = '';
    child.stdout.on('data', (chunk) => {
      printed += chunk;
      if (printed.length > 3000) child.kill('SIGKILL');
    });
    await new Promise((resolve) => child.on('close', resolve));
    const resolved = printed.slice(0, printed.lastIndexOf('\n')).split('\n').map(Number);
    expect(resolved.length).toBeGreaterThan(100);
    const found = await valuesOf(open(), 'n1/count');
    expect(new Set(found).size).toBe(found.length);
    expect(resolved.filter((value) => !found.includes(value))).toEqual([]);
  });

  it('keeps nothing of a work that throws, and everything of its neighbours', async () => {
    const spool = open();
    const thrower = (tx: SpoolTransaction) => {
      put(99)(tx);
      tx.add({ stream: { ...device, name: 'n1/other' }, at: 1, value: 98 });
      throw new Error('no');
    };
    const results = [
      spool.append(put(1)),
      spool.append(thrower),
      spool.append(put(2)),
      spool.append(thrower),
      spool.append(put(3)),
    ];
    expect(await Promise.all(results.map(outcome))).toEqual(['1', 'no', '2', 'no', '3']);
    expect(await stored(spool)).toEqual([
      [1, 'n1/count', 1],
      [2, 'n1/count', 2],
      [3, 'n1/count', 3],
    ]);
    // The stream's id was rolled back with it: what comes next must not use it.
    await spool.append((tx) => tx.add({ stream: { ...device, name: 'n1/other' }, at: 1, value: 5 }));
    expect(await valuesOf(spool, 'n1/other')).toEqual([5]);
  });

  it('refuses at 90 % of its bytes, and takes again when there is room', async () => {
    const spool = open({ limits: { maxBytes: 300_000, maxAgeMs: dayMs } });
    const fill = async () => {
      for (let value = 0; ; value += 100) {
        const batch = Array.from({ length: 100 }, (_, index) => spool.append(put(value + index)));
        const results = await Promise.all(batch.map(outcome));
        if (results.includes('unavailable')) return value;
      }
    };
    const taken = await fill();
    expect(taken).toBeGreaterThan(1000);
    expect(spool.stats().bytes).toBeLessThanOrEqual(300_000);
    expect(spool.peek(1)).toMatchObject({ from: 1 });
    expect(spool.stats()).toMatchObject({ waiting: taken, lost: { spoolFull: 0 } });
    spool.ack(spool.epoch(), taken / 2);
    spool.flush();
    expect(await fill()).toBeGreaterThan(0);
  });

  it('gives sampled readings up for those that are promised, and never the other way round', async () => {
    const spool = open({ limits: { maxBytes: 300_000, maxAgeMs: dayMs } });
    const sample = (count: number) => {
      for (let index = 0; index < count; index += 1)
        spool.add({ stream: sampled, at: clock.now(), value: index });
      spool.flush();
    };
    for (let round = 0; round < 30; round += 1) sample(500);
    const before = spool.stats().lost.spoolFull;
    const taken: number[] = [];
    for (let from = 0; from < 20_000; from += 100) {
      const batch = Array.from({ length: 100 }, (_, index) => from + index);
      const results = await Promise.all(batch.map((value) => outcome(spool.append(put(value)))));
      if (results.includes('unavailable')) break;
      taken.push(...batch);
    }
    expect(taken.length).toBeGreaterThan(2000);
    expect(spool.stats().lost.spoolFull).toBeGreaterThan(before);
    for (let round = 0; round < 30; round += 1) sample(500);
    expect(await valuesOf(spool, 'n1/count').catch(() => undefined)).toBeUndefined();
    close(spool);
    const again = open();
    expect(await valuesOf(again, 'n1/count')).toEqual(taken);
    // What was lost on the way is a gap with its reason, so the server hears of it.
    expect(again.peek(1)?.lost).toEqual({ reason: 'spool-full' });
  });

  it('refuses when the disk is full, and keeps nothing of it', async () => {
    const spool = open();
    await spool.append(put(1));
    await stopGrowth(spool);
    const results = await Promise.all(
      Array.from({ length: 3000 }, (_, value) => outcome(spool.append(put(value)))),
    );
    expect(new Set(results)).toEqual(new Set(['unavailable']));
    expect(spool.stats()).toMatchObject({ waiting: 1, lost: { diskFull: 0 } });
    expect(spool.stats().fault).toBeDefined();
    expect(await outcome(spool.append(put(2)))).toBe('unavailable');
    await clock.advance(3000);
    await letGrow(spool);
    expect(await outcome(spool.append(put(2)))).toBe('2');
    expect((await stored(spool)).map((each) => each[0])).toEqual([1, 2]);
    expect(spool.stats().fault).toBeUndefined();
  });

  it('makes room on a full disk from what was sampled, before it refuses', async () => {
    const spool = open();
    for (let value = 0; value < 20_000; value += 1) spool.add({ stream: sampled, at: clock.now(), value });
    spool.flush();
    await stopGrowth(spool);
    const results = await Promise.all(
      Array.from({ length: 300 }, (_, value) => outcome(spool.append(put(value)))),
    );
    expect(results).toEqual(Array.from({ length: 300 }, (_, value) => String(value)));
    expect(spool.stats().lost.diskFull).toBeGreaterThan(0);
  });

  it.each(['BEGIN', 'COMMIT'] as const)(
    'refuses while the disk fails at %s, and nothing of it comes later',
    async (statement) => {
      const spool = open();
      await spool.append(put(1));
      const heal = breakDisk(statement);
      expect(await outcome(spool.append(put(2)))).toBe('unavailable');
      heal();
      // It does not hammer a disk that has just failed.
      expect(await outcome(spool.append(put(3)))).toBe('unavailable');
      await clock.advance(3000);
      expect(await outcome(spool.append(put(4)))).toBe('4');
      expect(await valuesOf(spool, 'n1/count')).toEqual([1, 4]);
    },
  );

  it('lets only so many wait', async () => {
    const spool = open({ maxAppends: 3 });
    const results = [1, 2, 3, 4].map((value) => outcome(spool.append(put(value))));
    expect(await Promise.all(results)).toEqual(['1', '2', '3', 'unavailable']);
  });

  it('commits what waits when it is closed, and takes nothing afterwards', async () => {
    const spool = open();
    const last = outcome(spool.append(put(1)));
    close(spool);
    expect(await last).toBe('1');
    expect(await outcome(spool.append(put(2)))).toBe('unavailable');
    expect(await valuesOf(open(), 'n1/count')).toEqual([1]);
  });

  it('takes over the readings of a file of the version before', async () => {
    const path = join(dir, 'spool.db');
    const epoch = randomUUID();
    writeVersion1(path, epoch);
    const spool = open();
    expect(spool.epoch()).toBe(epoch);
    expect(spool.peek(10)).toMatchObject({
      from: 3,
      readings: [[0, 1000, 7]],
      streams: [{ name: 'room/t', unit: 'Cel' }],
    });
    expect(await outcome(spool.append(put(8)))).toBe('8');
    close(spool);
    expect(
      open()
        .peek(10)
        ?.readings.map((each) => each[2]),
    ).toEqual([7, 8]);
  });

  it('never drops a promised reading, whatever else happens', async () => {
    for (let seed = 1; seed <= 5; seed += 1) await runRandomly(seed);
  }, 60_000);
});

/** The tables as version 1 of the spool made them. */
function writeVersion1(path: string, epoch: string): void {
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, unit TEXT NOT NULL,
      UNIQUE (name, type, unit));
    CREATE TABLE readings (seq INTEGER PRIMARY KEY, stream INTEGER NOT NULL, at INTEGER NOT NULL, value NOT NULL);
    CREATE TABLE gaps (from_seq INTEGER PRIMARY KEY, to_seq INTEGER NOT NULL, reason TEXT NOT NULL);
    CREATE TABLE marks (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL);
    CREATE TABLE refused (id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, stream TEXT NOT NULL,
      at INTEGER NOT NULL, value NOT NULL, reason TEXT NOT NULL, refused_at INTEGER NOT NULL);
    INSERT INTO streams VALUES (1, 'room/t', 'number', 'Cel');
    INSERT INTO readings VALUES (3, 1, 1000, 7);
    INSERT INTO meta VALUES ('epoch', '${epoch}'), ('board_uuid', '${boardUuid}'), ('next_seq', 4), ('acked_seq', 2);
    PRAGMA user_version = 1`);
  db.close();
}

/** Samples, appends, acknowledges and restarts at random; compares with what was promised. */
async function runRandomly(seed: number): Promise<void> {
  const path = join(dir, `random-${seed}.db`);
  const limits = { maxBytes: 150_000, maxAgeMs: 365 * dayMs };
  let state = seed;
  const random = (below: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  let spool = open({ path, limits });
  const promised = new Map<number, number>();
  let value = 0;
  for (let step = 0; step < 150; step += 1) {
    const what = random(10);
    if (what < 4) {
      for (let index = random(800); index > 0; index -= 1)
        spool.add({ stream: sampled, at: clock.now(), value: -1 });
      if (random(2) === 0) spool.flush();
    } else if (what < 8) {
      const batch = Array.from({ length: random(300) }, () => (value += 1));
      const results = await Promise.all(batch.map((each) => outcome(spool.append(put(each)))));
      for (const [index, each] of batch.entries()) if (results[index] === String(each)) promised.set(each, 1);
    } else if (what === 8) {
      const batch = spool.peek(1000);
      if (batch) {
        for (const [stream, , sent] of batch.readings)
          if (batch.streams[stream]?.name === device.name) promised.delete(Number(sent));
        spool.ack(batch.epoch, batch.from + batch.readings.length - 1);
      }
    } else {
      close(spool);
      spool = open({ path, limits });
    }
    await clock.advance(random(500));
  }
  close(spool);
  const db = new DatabaseSync(path);
  const rows = db
    .prepare("SELECT value FROM readings JOIN streams ON streams.id = stream WHERE name = 'n1/count'")
    .all();
  db.close();
  const found = new Set(rows.map((row) => Number(row.value)));
  expect([...promised.keys()].filter((each) => !found.has(each))).toEqual([]);
  expect(found.size).toBe(rows.length);
}
