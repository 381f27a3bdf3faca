/** What a file sink leaves on the disk: rotation, torn lines, a full disk, kills. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdtemp, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileSettings } from '../../../../common/sinks/settings.ts';
import { createFileTarget } from '../../../../conductor/sinks/file.ts';
import type { SinkPoint, SinkTarget } from '../../../../conductor/sinks/sink-kind.ts';
import { findSinkStandings } from '../../../../conductor/sinks/standings.ts';
import { runProgram } from '../../../harness/run-program.ts';
import { until } from '../../../harness/until.ts';
import { relayKey } from '../../rpc-support.ts';
import { numbers, sinkConfig, useDelivery } from './delivery-support.ts';
import { pointOf } from './support.ts';

const delivery = useDelivery();
const { setUp, allGone, expectBalance, cleanUps } = delivery;
let root: string;
let sinkId: string;
let folder: string;
let opened: SinkTarget[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'boardwalk-files-'));
  sinkId = randomUUID();
  folder = join(root, 'sinks', sinkId);
});
afterEach(async () => {
  for (const each of opened) await each.close();
  opened = [];
  await rm(root, { recursive: true, force: true });
});

const day = 86_400_000;
const noon = Date.parse('2026-03-01T12:00:00Z');

function open(settings: Partial<FileSettings> = {}, now?: () => number): SinkTarget {
  const context = { sinkId, tenantId: 't', timeoutMs: 1000 };
  const config = { ...sinkConfig, dir: join(root, 'sinks') };
  const target = createFileTarget(
    { name: 'readings', maxMegabytes: 1, files: 3, ...settings },
    { ...context, config },
    now,
  );
  opened.push(target);
  return target;
}

async function write(target: SinkTarget, ...points: SinkPoint[]): Promise<void> {
  const outcome = await target.write(points, new AbortController().signal);
  expect(outcome).toEqual({ outcome: 'written', rejected: new Map() });
}
const files = async (dir = folder) => (await readdir(dir)).sort();
/** Throws for a line that is none. */
async function linesOf(path: string): Promise<SinkPoint[]> {
  const text = await readFile(path, 'utf8');
  expect(text === '' || text.endsWith('\n')).toBe(true);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as SinkPoint);
}
async function valuesIn(name: string): Promise<unknown[]> {
  return (await linesOf(join(folder, name))).map(({ value }) => value);
}
const current = 'readings.ndjson';

describe('the files of a sink', () => {
  it('begin anew each day, also where another process ended, and the oldest go', async () => {
    let at = noon;
    const now = () => at;
    let target = open({}, now);
    const another = async () => {
      await target.close();
      // The file system has its own clock.
      await utimes(join(folder, current), at / 1000, at / 1000);
      target = open({}, now);
    };
    await write(target, pointOf(1, 1), pointOf(2, 2));
    await another();
    await write(target, pointOf(3, 3));
    expect(await files()).toEqual([current]);
    for (const value of [4, 5, 6]) {
      if (value === 5) await another();
      at += day;
      await write(target, pointOf(value, value));
    }
    const [older, old, last] = await files();
    expect([older, old, last]).toEqual([
      'readings-20260303T120000.000Z.ndjson',
      'readings-20260304T120000.000Z.ndjson',
      current,
    ]);
    expect(await valuesIn(old as string)).toEqual([5]);
    expect(await valuesIn(current)).toEqual([6]);
  });

  it('begin anew beyond their size, and belong to their name alone', async () => {
    const long = 'x'.repeat(400_000);
    const other = open({ name: 'readings-b' });
    await write(other, pointOf(1, long), pointOf(2, long));
    await write(other, pointOf(3, long));
    const target = open();
    for (let seq = 4; seq < 12; seq += 1) await write(target, pointOf(seq, long));
    const found = await files();
    expect(found.filter((each) => /^readings-2/.test(each))).toHaveLength(2);
    expect(found.filter((each) => each.startsWith('readings-b'))).toHaveLength(2);
    expect((await linesOf(join(folder, current))).map(({ id }) => id)).toEqual(['b:1:10', 'b:1:11']);
    for (const each of found) expect((await stat(join(folder, each))).size).toBeLessThanOrEqual(1_048_576);
  });

  it('are kept in their order when the clock is set back', async () => {
    let at = noon + 5 * day;
    const target = open({}, () => at);
    await write(target, pointOf(1, 1));
    at += day;
    await write(target, pointOf(2, 2));
    at = noon;
    await write(target, pointOf(3, 3));
    at += day;
    await write(target, pointOf(4, 4));
    const values = [];
    for (const each of await files()) values.push(...(await valuesIn(each)));
    expect(values).toEqual([2, 3, 4]);
  });

  it('that end with half a line are mended, and nothing whole is touched', async () => {
    const target = open();
    await write(target, pointOf(1, 1), pointOf(2, 2));
    await target.close();
    await appendFile(
      join(folder, current),
      `${JSON.stringify(pointOf(3, 'y'.repeat(200_000)))}`.slice(0, -5),
    );
    await write(open(), pointOf(3, 3));
    expect(await valuesIn(current)).toEqual([1, 2, 3]);
    await rm(join(folder, current));
    await appendFile(join(folder, current), '{"id":"b');
    await write(open(), pointOf(4, 4));
    expect(await valuesIn(current)).toEqual([4]);
  });

  it('that were moved or deleted are begun anew', async () => {
    const target = open();
    await write(target, pointOf(1, 1));
    await rename(join(folder, current), join(folder, 'away'));
    await write(target, pointOf(2, 2));
    expect(await valuesIn('away')).toEqual([1]);
    expect(await valuesIn(current)).toEqual([2]);
    await rm(folder, { recursive: true });
    await write(target, pointOf(3, 3));
    expect(await valuesIn(current)).toEqual([3]);
  });

  it('keep what another conductor wrote, when one goes on that does not know that it lost the sink', async () => {
    const slow = open();
    await write(slow, pointOf(1, 1));
    const next = open();
    await write(next, pointOf(1, 1), pointOf(2, 2));
    await write(slow, pointOf(1, 1));
    await write(next, pointOf(3, 3));
    expect(await valuesIn(current)).toEqual([1, 1, 2, 1, 3]);
  });
});

/** @param limit of the size of its files, bytes: what a full disk is to a process */
function startConductor(limit?: number): { child: ChildProcess; exited: Promise<unknown> } {
  const limited = limit === undefined ? 'unlimited' : String(limit);
  const args = [`--fsize=${limited}:unlimited`, process.execPath, 'conductor/main.ts'];
  const child = spawn('prlimit', args, {
    env: {
      ...process.env,
      DATABASE_URL: delivery.db.url,
      BOARDWALK_RELAY_KEY: relayKey,
      BOARDWALK_SINK_DIR: join(root, 'sinks'),
      BOARDWALK_LOG_LEVEL: 'error',
    },
    stdio: 'ignore',
  });
  const exited = once(child, 'exit');
  cleanUps.push(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return { child, exited };
}

describe('delivery to a file', { timeout: 180_000 }, () => {
  it('waits while the disk is full, which its tenant sees, and loses nothing', async () => {
    const sink = await setUp({ kind: 'file', settings: {}, secrets: {}, batchSize: 25 });
    const path = join(root, 'sinks', sink.id, current);
    for (let batch = 0; batch < 8; batch += 1) await sink.store(50);
    const limit = 20_000;
    const { child } = startConductor(limit);
    const row = await until(
      'it has failed',
      async () => {
        const found = await sink.row();
        return found.last_error !== null && found;
      },
      { timeoutMs: 60_000 },
    );
    expect(row.last_error).toMatch(/^the file cannot be written: EFBIG/);
    expect(row.failing_since).not.toBeNull();
    expect(row.retry_at).not.toBeNull();
    expect((await stat(path)).size).toBeLessThanOrEqual(limit);
    const standing = (await delivery.db.database.read(findSinkStandings)).find(({ id }) => id === sink.id);
    expect(standing?.waiting).toBeGreaterThan(200);
    expect(standing?.lagSeconds).toBeGreaterThan(0);
    const room = await runProgram('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:unlimited']);
    expect(room.code, room.stderr).toBe(0);
    await allGone(sink);
    const lines = await linesOf(path);
    const values = new Map(lines.map(({ id, value }) => [id, value]));
    expect([...values.values()]).toEqual(numbers(1, 400));
    // What was there of the batch that did not fit is there twice, and that is all.
    expect(lines.length).toBeLessThan(425);
    await expectBalance(sink, { delivered: 400, rejected: 0, lost: 0, failing_since: null });
  });

  it('ends up whole, each point by its id, when conductors are killed while they write', async () => {
    const sink = await setUp({ kind: 'file', settings: {}, secrets: {}, batchSize: 5 });
    const path = join(root, 'sinks', sink.id, current);
    for (let batch = 0; batch < 30; batch += 1) await sink.store(100);
    for (let life = 1; life <= 3; life += 1) {
      const { child, exited } = startConductor();
      if (life === 3) break;
      const size = async () => (await stat(path).catch(() => undefined))?.size ?? 0;
      const before = await size();
      await until('it writes', async () => (await size()) > before + 20_000, {
        everyMs: 2,
        timeoutMs: 60_000,
      });
      child.kill('SIGKILL');
      await exited;
      expect(await sink.waiting()).toBeGreaterThan(0);
    }
    await until('nothing waits', async () => (await sink.waiting()) === 0, { timeoutMs: 60_000 });
    const lines = await linesOf(path);
    expect([...new Map(lines.map(({ id, value }) => [id, value])).values()]).toEqual(numbers(1, 3000));
    await expectBalance(sink, { delivered: 3000, rejected: 0, lost: 0 });
  });
});
