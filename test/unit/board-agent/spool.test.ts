import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSpool, type Spool, type SpoolOptions } from '../../../board-agent/spool/spool.ts';
import { parseReadingsBatch, readingsLimits } from '../../../common/wamp/readings.ts';
import { createFakeClock, type FakeClock, silent } from './fakes.ts';

const boardUuid = randomUUID();
const temperature = { name: 'room/temperature', type: 'number', unit: 'Cel' } as const;
const door = { name: 'room/door', type: 'boolean', unit: '' } as const;
const note = { name: 'room/note', type: 'text', unit: '' } as const;
const dayMs = 86_400_000;

let dir: string;
let clock: FakeClock;
let spools: Spool[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-spool-'));
  clock = createFakeClock();
  spools = [];
});

afterEach(() => {
  for (const spool of spools) spool.close();
  rmSync(dir, { recursive: true });
});

function open(options: Partial<SpoolOptions> = {}): Spool {
  const spool = createSpool({
    path: join(dir, 'spool.db'),
    boardUuid,
    limits: { maxBytes: 50_000_000, maxAgeMs: 30 * dayMs },
    clock,
    logger: silent,
    ...options,
  });
  spools.push(spool);
  return spool;
}

function close(spool: Spool): void {
  spool.close();
  spools = spools.filter((each) => each !== spool);
}

function fill(spool: Spool, count: number, from = 0): void {
  for (let index = 0; index < count; index += 1)
    spool.add({ stream: temperature, at: clock.now(), value: from + index });
}

/** From now on nothing can be written, until the result is called. */
function breakDisk(): () => void {
  const { exec } = DatabaseSync.prototype;
  const broken = vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function (
    this: DatabaseSync,
    sql,
  ) {
    if (sql.startsWith('BEGIN')) throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
    exec.call(this, sql);
  });
  return () => broken.mockRestore();
}

const values = (spool: Spool, max = 1000) => spool.peek(max)?.readings.map(([, , value]) => value);

describe('spool', () => {
  it('gives nothing away before it is on disk, and is on disk within a tick', async () => {
    const spool = open();
    fill(spool, 3);
    expect(spool.peek(10)).toBeUndefined();
    await clock.advance(200);
    expect(values(spool)).toEqual([0, 1, 2]);
  });

  it('keeps order, types and times over a restart', () => {
    const first = open();
    first.add({ stream: temperature, at: 5, value: -0.5 });
    first.add({ stream: door, at: 3, value: true });
    first.add({ stream: note, at: 4, value: 'ünïcode' });
    first.add({ stream: door, at: 6, value: false });
    close(first);
    const batch = open().peek(10);
    expect(batch).toMatchObject({ from: 1, streams: [temperature, door, note] });
    expect(batch?.readings).toEqual([
      [0, 5, -0.5],
      [1, 3, true],
      [2, 4, 'ünïcode'],
      [1, 6, false],
    ]);
    expect(parseReadingsBatch(batch)).toEqual(batch);
  });

  it('forgets what is acknowledged and goes on with the next number', () => {
    const spool = open();
    fill(spool, 5);
    spool.flush();
    spool.ack(spool.epoch(), 3);
    expect(spool.peek(10)).toMatchObject({ from: 4 });
    expect(spool.peek(10)?.lost).toBeUndefined();
    spool.ack(spool.epoch(), 5);
    expect(spool.peek(10)).toBeUndefined();
    close(spool);
    const again = open();
    fill(again, 1);
    again.flush();
    expect(again.peek(10)).toMatchObject({ from: 6 });
    expect(again.epoch()).toBe(spool.epoch());
  });

  it('ignores an acknowledgement of another epoch or of numbers never given', () => {
    const spool = open();
    fill(spool, 2);
    spool.flush();
    spool.ack(randomUUID(), 2);
    spool.ack(spool.epoch(), 3);
    expect(spool.stats()).toMatchObject({ waiting: 2, ackedSeq: 0 });
  });

  it('keeps a batch within the limits of the wire', () => {
    const spool = open();
    for (let index = 0; index < 700; index += 1) {
      const stream = { ...note, name: `room/note-${index}` };
      spool.add({ stream, at: clock.now(), value: '"'.repeat(readingsLimits.textLength) });
    }
    spool.flush();
    const batch = spool.peek(1000);
    expect(JSON.stringify(batch).length).toBeLessThanOrEqual(readingsLimits.batchBytes);
    expect(batch?.readings.length).toBeGreaterThan(100);
    expect(parseReadingsBatch(batch)).toEqual(batch);
  });

  it('drops the oldest when it is full, and the next batch says so', () => {
    const spool = open({ limits: { maxBytes: 200_000, maxAgeMs: dayMs } });
    for (let round = 0; round < 40; round += 1) {
      fill(spool, 500, round * 500);
      spool.flush();
    }
    const { lost, waiting, bytes } = spool.stats();
    expect(bytes).toBeLessThanOrEqual(200_000);
    expect(lost.spoolFull).toBeGreaterThan(0);
    expect(waiting).toBe(20_000 - lost.spoolFull);
    const batch = spool.peek(1);
    expect(batch).toMatchObject({ from: lost.spoolFull + 1, lost: { reason: 'spool-full' } });
    // The value says which reading it is: numbers and readings still belong together.
    expect(batch?.readings[0]?.[2]).toBe(lost.spoolFull);
  });

  it('stays right when what is in flight is dropped before its acknowledgement', () => {
    const spool = open({ limits: { maxBytes: 200_000, maxAgeMs: dayMs } });
    fill(spool, 500);
    spool.flush();
    const inFlight = spool.peek(100);
    expect(inFlight).toMatchObject({ from: 1 });
    for (let round = 0; round < 40; round += 1) {
      fill(spool, 500, 500 + round * 500);
      spool.flush();
    }
    spool.ack(spool.epoch(), 100);
    const next = spool.peek(1);
    expect(next?.lost).toEqual({ reason: 'spool-full' });
    expect(next?.readings[0]?.[2]).toBe((next?.from ?? 0) - 1);
    expect(spool.stats().waiting).toBe(20_500 - spool.stats().lost.spoolFull);
  });

  it('drops what has waited too long, by the time of storing and not of measuring', async () => {
    const spool = open({ limits: { maxBytes: 50_000_000, maxAgeMs: dayMs } });
    spool.add({ stream: temperature, at: 1000, value: 1 });
    spool.flush();
    await clock.advance(dayMs / 2);
    spool.add({ stream: temperature, at: 1000, value: 2 });
    spool.flush();
    expect(values(spool)).toEqual([1, 2]);
    await clock.advance(dayMs * 0.7);
    spool.add({ stream: temperature, at: 1000, value: 3 });
    spool.flush();
    expect(values(spool)).toEqual([2, 3]);
    expect(spool.peek(9)?.lost).toEqual({ reason: 'too-old' });
  });

  it('does not take a clock that was set meanwhile for age', async () => {
    clock.set(0);
    const spool = open({ limits: { maxBytes: 50_000_000, maxAgeMs: dayMs } });
    fill(spool, 3);
    spool.flush();
    clock.set(Date.UTC(2026, 5, 1));
    fill(spool, 1, 3);
    spool.flush();
    expect(values(spool)).toEqual([0, 1, 2, 3]);
  });

  it('sets a refused reading aside and splits batches around the hole', () => {
    const spool = open();
    fill(spool, 5);
    spool.flush();
    spool.refuse(spool.epoch(), 3, 'not a number to the server');
    expect(values(spool)).toEqual([0, 1]);
    spool.ack(spool.epoch(), 2);
    expect(spool.peek(10)).toMatchObject({ from: 4, lost: { reason: 'refused' } });
    expect(spool.stats()).toMatchObject({ waiting: 2, lost: { refused: 1 } });
  });

  it('waits in memory while the disk is full, counts what it drops, and reports it', async () => {
    const path = join(dir, 'spool.db');
    const spool = open({ maxBuffered: 10 });
    spool.flush();
    close(spool);
    // A directory in its place: every open fails, as on a disk that is full or read-only.
    rmSync(path);
    rmSync(`${path}-wal`, { force: true });
    const blocked = join(path, 'blocked');
    const { mkdirSync } = await import('node:fs');
    mkdirSync(blocked, { recursive: true });
    const next = open({ maxBuffered: 10 });
    fill(next, 25);
    await clock.advance(1000);
    expect(next.stats()).toMatchObject({ buffered: 10, lost: { diskFull: 15 } });
    expect(next.stats().fault).toBeDefined();
    rmSync(path, { recursive: true });
    await clock.advance(5000);
    expect(next.stats().fault).toBeUndefined();
    expect(next.peek(100)).toMatchObject({ from: 16, lost: { reason: 'disk-full' } });
    expect(values(next)).toEqual([15, 16, 17, 18, 19, 20, 21, 22, 23, 24]);
  });

  it('sets a damaged file aside, keeps it, and begins a new epoch', () => {
    const path = join(dir, 'spool.db');
    const first = open();
    fill(first, 2);
    close(first);
    const garbage = Buffer.alloc(8192, 'x');
    writeFileSync(path, garbage);
    let newEpochs = 0;
    const spool = open({
      onNewEpoch: () => {
        newEpochs += 1;
      },
    });
    expect(newEpochs).toBe(1);
    expect(spool.epoch()).not.toBe(first.epoch());
    const kept = readdirSync(dir).find((name) => name.includes('.damaged-'));
    expect(readFileSync(join(dir, kept ?? ''))).toEqual(garbage);
    fill(spool, 1);
    spool.flush();
    expect(spool.peek(1)).toMatchObject({ from: 1 });
  });

  it('does not send the readings of another board', () => {
    const first = open();
    fill(first, 2);
    close(first);
    const other = open({ boardUuid: randomUUID() });
    expect(other.stats().waiting).toBe(0);
    expect(readdirSync(dir).some((name) => name.includes('.damaged-'))).toBe(true);
  });

  it('notices at hello that the file has lost commits, and sends the new readings under a new epoch', () => {
    const spool = open();
    fill(spool, 2);
    spool.flush();
    spool.reconcile(spool.epoch(), 0);
    close(spool);
    // The file says that 3 is next, and the server has up to 7: five commits were lost with the power.
    const again = open();
    fill(again, 10, 100);
    again.flush();
    const before = again.epoch();
    again.reconcile(before, 7);
    expect(again.epoch()).not.toBe(before);
    expect(again.peek(100)).toMatchObject({ from: 1, epoch: again.epoch() });
    expect(values(again)).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
    fill(again, 1, 110);
    again.flush();
    expect(values(again)?.length).toBe(11);
  });

  it('is not to be sent before the answer to hello is on disk, so that a restart renumbers nothing', async () => {
    const spool = open();
    fill(spool, 3);
    spool.flush();
    expect(spool.isConfirmed()).toBe(false);
    const heal = breakDisk();
    spool.reconcile(spool.epoch(), 0);
    expect(spool.isConfirmed()).toBe(false);
    heal();
    await clock.advance(5000);
    expect(spool.isConfirmed()).toBe(true);
    close(spool);
    const again = open();
    again.reconcile(again.epoch(), 2);
    expect(again.epoch()).toBe(spool.epoch());
    expect(values(again)).toEqual([2]);
  });

  it('renumbers later when it cannot now, and sends nothing under the old numbers meanwhile', async () => {
    const spool = open();
    fill(spool, 3);
    spool.flush();
    const before = spool.epoch();
    const heal = breakDisk();
    spool.reconcile(before, 7);
    expect(spool.epoch()).toBe(before);
    expect(spool.isConfirmed()).toBe(false);
    heal();
    await clock.advance(5000);
    expect(spool.epoch()).not.toBe(before);
    expect(spool.isConfirmed()).toBe(true);
    expect(values(spool)).toEqual([0, 1, 2]);
  });

  it('takes over what the server has when the acknowledgement was lost', () => {
    const spool = open();
    spool.reconcile(spool.epoch(), 0);
    fill(spool, 5);
    spool.flush();
    close(spool);
    const again = open();
    again.reconcile(again.epoch(), 4);
    expect(again.epoch()).toBe(spool.epoch());
    expect(values(again)).toEqual([4]);
  });

  it('begins anew when a copy of it has sent under its numbers: each reading is on the server once', () => {
    const path = join(dir, 'spool.db');
    const first = open();
    first.reconcile(first.epoch(), 0);
    fill(first, 3);
    first.flush();
    close(first);
    cpSync(path, join(dir, 'copy.db'));
    /** As the server does: behind a fence for each epoch. */
    const fences = new Map<string, number>();
    const onServer: unknown[] = [];
    const send = (spool: Spool) => {
      spool.reconcile(spool.epoch(), fences.get(spool.epoch()) ?? 0);
      const batch = spool.peek(1000);
      if (!batch) return;
      const { epoch, from, readings } = batch;
      const acked = fences.get(epoch) ?? 0;
      for (const [index, [, , value]] of readings.entries()) if (from + index > acked) onServer.push(value);
      const last = from + readings.length - 1;
      fences.set(epoch, Math.max(acked, last));
      spool.ack(epoch, last);
      spool.flush();
    };
    const twins = [open(), open({ path: join(dir, 'copy.db') })];
    // Both have started before one of them sends.
    for (const twin of twins) twin.reconcile(twin.epoch(), 0);
    for (let round = 0; round < 4; round += 1)
      for (const [index, twin] of twins.entries()) {
        // The one whose session was taken over goes on measuring.
        for (const [other, each] of twins.entries())
          fill(each, 1 + index, 1000 * (other + 1) + 10 * round + 5 * index);
        for (const each of twins) each.flush();
        send(twin);
      }
    for (const twin of twins) send(twin);
    const own = [1000, 2000].flatMap((from) =>
      [0, 10, 20, 30].flatMap((round) => [from + round, from + round + 5, from + round + 6]),
    );
    // What was there when it was copied is in both.
    expect(onServer.toSorted((a, b) => Number(a) - Number(b))).toEqual([0, 1, 2, ...own]);
    expect(twins[0]?.epoch()).not.toBe(twins[1]?.epoch());
  });

  it('gives space back when it has drained', () => {
    const spool = open();
    for (let round = 0; round < 20; round += 1) {
      fill(spool, 5000);
      spool.flush();
    }
    const full = spool.stats().bytes;
    spool.ack(spool.epoch(), 100_000);
    for (let round = 0; round < 20; round += 1) {
      fill(spool, 1);
      spool.flush();
    }
    close(spool);
    expect(statSync(join(dir, 'spool.db')).size).toBeLessThan(full / 4);
  });

  it('has lost nothing that it called committed, and gives no number twice, when killed', async () => {
    const path = join(dir, 'spool.db');
    const child = spawn(process.execPath, [join(import.meta.dirname, 'spool-writer.ts'), path, boardUuid], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.on('data', (chunk) => {
      printed += chunk;
      if (printed.length > 200) child.kill('SIGKILL');
    });
    await new Promise((resolve) => child.on('close', resolve));
    const committed = Number(printed.slice(0, printed.lastIndexOf('\n')).split('\n').at(-1));
    expect(committed).toBeGreaterThan(0);
    const spool = open();
    const { waiting } = spool.stats();
    expect(waiting).toBeGreaterThanOrEqual(committed);
    fill(spool, 1, -1);
    spool.flush();
    close(spool);
    const db = new DatabaseSync(path);
    const last = db.prepare('SELECT seq, value FROM readings ORDER BY seq DESC LIMIT 1').get();
    const holes = db
      .prepare('SELECT count(*) AS n FROM readings WHERE value >= 0 AND value <> seq - 1')
      .get();
    db.close();
    expect(last).toEqual({ seq: waiting + 1, value: -1 });
    expect(holes).toEqual({ n: 0 });
  });
});
