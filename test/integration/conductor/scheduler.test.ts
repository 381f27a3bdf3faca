import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RowDataPacket } from 'mysql2';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Scheduler, startScheduler, type Task, type TaskContext } from '../../../conductor/scheduler.ts';
import { claimSlot } from '../../../conductor/task-runs.ts';
import { until } from '../../harness/until.ts';
import { openConductorDatabase, silent } from './support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
const running: Scheduler[] = [];

beforeAll(async () => {
  db = await openConductorDatabase();
});
afterAll(() => db.close());
beforeEach(async () => {
  await db.connection.query('DELETE FROM task_runs');
  await db.connection.query('DELETE FROM leases');
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(running.splice(0).map((each) => each.stop()));
});

function start(tasks: readonly Task[], conductorId: string = randomUUID()): Scheduler {
  const scheduler = startScheduler({ database: db.database, logger: silent, conductorId, tasks });
  running.push(scheduler);
  return scheduler;
}

interface RunRow extends RowDataPacket {
  slot_at: Date;
  conductor_id: string;
  outcome: string | null;
  detail: Record<string, unknown> | null;
}

async function listRuns(): Promise<RunRow[]> {
  const [rows] = await db.connection.query<RunRow[]>('SELECT * FROM task_runs ORDER BY slot_at');
  return rows;
}

/** A task that notes when it runs. */
function countingTask(
  everyMs: number,
  work: (context: TaskContext) => Promise<void> = async () => undefined,
) {
  const seen = { runs: 0, atOnce: 0, most: 0 };
  const task: Task = {
    name: 'count',
    everyMs,
    leaseSeconds: 1,
    async run(context) {
      seen.runs += 1;
      seen.atOnce += 1;
      seen.most = Math.max(seen.most, seen.atOnce);
      try {
        await work(context);
        return { ran: true };
      } finally {
        seen.atOnce -= 1;
      }
    },
  };
  return { task, seen };
}

describe('the scheduler', () => {
  it('runs each slot once over three conductors, one run at a time', async () => {
    const { task, seen } = countingTask(150, () => sleep(30));
    const conductors = [randomUUID(), randomUUID(), randomUUID()];
    for (const id of conductors) start([task], id);
    await until('a dozen runs', () => seen.runs >= 12);
    await Promise.all(running.splice(0).map((each) => each.stop()));
    const runs = await listRuns();
    expect(runs).toHaveLength(seen.runs);
    expect(new Set(runs.map((each) => each.slot_at.getTime())).size).toBe(runs.length);
    expect(runs.every((each) => each.slot_at.getTime() % 150 === 0)).toBe(true);
    expect(runs.every((each) => each.outcome === 'done' && each.detail?.ran === true)).toBe(true);
    expect(seen.most).toBe(1);
  });

  it('is not moved by a clock of this process that jumps', async () => {
    const { task, seen } = countingTask(200);
    start([task]);
    await until('a run', () => seen.runs >= 1);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 40 * 86_400_000 });
    await until('more runs', () => seen.runs >= 4);
    vi.setSystemTime(new Date('2001-01-01'));
    await until('still more runs', () => seen.runs >= 7);
    await Promise.all(running.splice(0).map((each) => each.stop()));
    const now = Number(await db.value('SELECT UNIX_TIMESTAMP(NOW(3)) * 1000'));
    for (const run of await listRuns()) expect(Math.abs(run.slot_at.getTime() - now)).toBeLessThan(60_000);
  });

  it('takes over the run of a conductor that died, after its lease and not before', async () => {
    const dead = randomUUID();
    const claim = { task: 'count', everyMs: 3_600_000, leaseSeconds: 1, retryAfterMs: 30_000 };
    await db.database.transaction((manager) => claimSlot(manager, { ...claim, conductorId: dead }));
    const claimedAt = performance.now();
    const { task, seen } = countingTask(3_600_000);
    start([task]);
    await until('the run is taken over', () => seen.runs === 1);
    expect(performance.now() - claimedAt).toBeGreaterThan(990);
    await until('it is recorded', async () => (await listRuns())[0]?.outcome === 'done');
    const [run, ...others] = await listRuns();
    expect(others).toEqual([]);
    expect(run?.conductor_id).not.toBe(dead);
    expect(run?.detail).toMatchObject({ takenOverFrom: dead, ran: true });
  });

  it('renews the lease of a long run, so that nobody takes it over', async () => {
    const { task, seen } = countingTask(3_600_000, () => sleep(2500));
    start([task]);
    await until('it runs', () => seen.runs === 1);
    start([task]);
    await until('it is done', async () => (await listRuns())[0]?.outcome === 'done');
    expect(seen.runs).toBe(1);
  });

  it('refuses the next write of a task whose lease was taken, and lets the other record the run', async () => {
    let wrote = false;
    const other = randomUUID();
    const refused: unknown[] = [];
    const { task } = countingTask(3_600_000, async (context) => {
      await db.connection.query('UPDATE leases SET until_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND');
      const claim = { task: 'count', everyMs: 3_600_000, leaseSeconds: 30, retryAfterMs: 0 };
      await db.database.transaction((manager) => claimSlot(manager, { ...claim, conductorId: other }));
      try {
        await context.write(async () => {
          wrote = true;
        });
      } catch (error) {
        refused.push(error);
        expect(context.signal.aborted).toBe(true);
        throw error;
      }
    });
    const scheduler = start([task]);
    await until('the write is refused', () => refused.length === 1);
    await scheduler.stop();
    expect(wrote).toBe(false);
    const [run] = await listRuns();
    expect(run).toMatchObject({ conductor_id: other, outcome: null });
  });

  it('records a failure and goes on with the next slot', async () => {
    let runs = 0;
    const { task } = countingTask(200, async () => {
      runs += 1;
      if (runs === 1) throw new Error('the first one fails');
    });
    start([task]);
    await until('a good run', async () => (await listRuns()).some((each) => each.outcome === 'done'));
    const [first] = await listRuns();
    expect(first?.outcome).toBe('failed');
    expect(first?.detail).toMatchObject({ error: 'the first one fails' });
  });

  it('drains: a run in progress sees the stop, and another conductor goes on with its slot at once', async () => {
    const { task, seen } = countingTask(3_600_000, async ({ signal }) => {
      if (seen.runs > 1) return;
      await sleep(60_000, undefined, { signal });
    });
    const first = start([task]);
    await until('it runs', () => seen.runs === 1);
    await first.stop();
    expect((await listRuns())[0]?.outcome).toBe('stopped');
    start([task]);
    await until('the other runs it', () => seen.runs === 2);
  });
});
