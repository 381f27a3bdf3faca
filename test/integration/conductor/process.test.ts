import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTasks } from '../../../conductor/tasks/all.ts';
import { until } from '../../harness/until.ts';
import { relayKey } from '../rpc-support.ts';
import { openAlarmFixture } from './alarms-support.ts';
import { openConductorDatabase } from './support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
const children: ChildProcess[] = [];

beforeEach(async () => {
  db = await openConductorDatabase();
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await db.close();
});

interface Conductor {
  child: ChildProcess;
  id: string;
  url: string;
}

async function startConductor(env: Record<string, string> = {}): Promise<Conductor> {
  const child = spawn(process.execPath, ['conductor/main.ts'], {
    env: {
      ...process.env,
      DATABASE_URL: db.url,
      BOARDWALK_RELAY_KEY: relayKey,
      BOARDWALK_CONDUCTOR_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  let output = '';
  child.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  const ready = await until('the conductor is ready', () =>
    output
      .split('\n')
      .filter((line) => line.includes('"ready"'))
      .map((line) => JSON.parse(line) as { conductor: string; url: string })
      .at(0),
  );
  return { child, id: ready.conductor, url: ready.url };
}

const runsOf = (id: string) =>
  db.value("SELECT COUNT(*) FROM task_runs WHERE conductor_id = ? AND outcome = 'done'", [id]);

const tasksOf = (id: string) =>
  db.value("SELECT COUNT(DISTINCT task) FROM task_runs WHERE conductor_id = ? AND outcome = 'done'", [id]);

/** Of conductor/tasks/all.ts. */
/** None of them is run here: what they need is of no matter. */
const taskCount = createTasks({ rules: {}, metrics: {} } as never).length;

describe('conductor processes', () => {
  it('answer for health, readiness and metrics, and for nothing else', async () => {
    const { url, id } = await startConductor();
    const get = async (path: string) => {
      const response = await fetch(`${url}${path}`);
      return { status: response.status, text: await response.text() };
    };
    expect(await get('/healthz')).toMatchObject({ status: 200 });
    expect(await get('/readyz')).toMatchObject({ status: 200 });
    expect((await get('/nothing')).status).toBe(404);
    expect((await get('/wake')).status).toBe(404);
    await until('every task ran', async () => Number(await tasksOf(id)) >= taskCount);
    const { text } = await get('/metrics');
    expect(text).toMatch(/boardwalk_conductor_task_seconds_count\{task="liveness",outcome="done"\}/);
    expect(text).toMatch(/boardwalk_partition_days_ahead 10/);
  });

  it('share the work; when one is killed the other goes on and marks it, and a stop is clean', async () => {
    const [one, two] = [await startConductor(), await startConductor()];
    await until(
      'both work',
      async () => Number(await runsOf(one.id)) > 0 && Number(await runsOf(two.id)) > 0,
      {
        timeoutMs: 30_000,
      },
    );
    one.child.kill('SIGKILL');
    const reason = 'SELECT stop_reason FROM conductors WHERE id = ?';
    await until(
      'the dead one is marked',
      async () => (await db.value(reason, [one.id])) === 'heartbeat-lapsed',
      {
        timeoutMs: 30_000,
      },
    );
    expect(
      await db.value(
        'SELECT COUNT(*) FROM (SELECT 1 FROM task_runs GROUP BY task, slot_at HAVING COUNT(*) > 1) x',
      ),
    ).toBe(0);
    two.child.kill('SIGTERM');
    expect(await once(two.child, 'exit')).toEqual([0, null]);
    expect(await db.value(reason, [two.id])).toBe('stopped');
    expect(await db.value('SELECT COUNT(*) FROM leases WHERE owner = ?', [two.id])).toBe(0);
  });

  it('raise an alarm within a second of the commit, sooner when they are woken, and tell it as a metric', async () => {
    const alarms = await openAlarmFixture();
    try {
      const { url } = await startConductor({ DATABASE_URL: alarms.url });
      const tenant = await alarms.rows.tenant();
      const board = await alarms.rows.board(tenant, 'gw-1');
      const rule = await alarms.rule(tenant, {});
      const consumer = await alarms.value('SELECT id FROM reading_consumers WHERE tenant_id = ?', [tenant]);
      const stream = await alarms.stream(board);
      await stream.now(20);
      await until('the rule is known', async () => (await alarms.states(rule)).length > 0);
      const raiseAndClear = async (wake: boolean) => {
        const delays: number[] = [];
        for (const [value, open] of [
          [120, 1],
          [20, 0],
        ] as const) {
          await stream.now(value);
          const storedAt = performance.now();
          if (wake)
            await fetch(`${url}/wake`, {
              method: 'POST',
              headers: { authorization: `Bearer ${relayKey}` },
              body: JSON.stringify({ consumers: [consumer] }),
            });
          await until(
            'the alarm is as the value',
            async () => Number(await alarms.value('SELECT COUNT(*) FROM alarms WHERE open = 1')) === open,
            { everyMs: 5 },
          );
          delays.push(performance.now() - storedAt);
        }
        return Math.max(...delays);
      };
      expect(await raiseAndClear(false)).toBeLessThan(1000);
      const woken = [await raiseAndClear(true), await raiseAndClear(true), await raiseAndClear(true)];
      expect(Math.min(...woken)).toBeLessThan(300);
      const text = await (await fetch(`${url}/metrics`)).text();
      expect(text).toMatch(/boardwalk_alarm_changes_total\{change="raised"\} 4/);
      expect(text).toMatch(/boardwalk_alarm_lag_seconds_count [1-9]/);
      expect(text).toMatch(/boardwalk_alarms_open\{severity="warning"\} \d/);
    } finally {
      for (const child of children.splice(0)) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      await alarms.close();
    }
  });

  it('raise each alarm once, and its operation, while they are killed one after the other', async () => {
    const alarms = await openAlarmFixture();
    try {
      const tenant = await alarms.rows.tenant();
      const board = await alarms.rows.board(tenant, 'gw-1');
      const action = { procedure: 'hv.switch', kwargs: { on: false }, deadlineSeconds: 86_400 };
      const rule = await alarms.rule(tenant, { action });
      const stream = await alarms.stream(board);
      const at = Date.now() - 600_000;
      let running = await startConductor({ DATABASE_URL: alarms.url });
      for (let index = 0; index < 60; index += 1) {
        await stream.add([at + index * 2000, 120], [at + index * 2000 + 1000, 20]);
        if (index % 20 !== 19) continue;
        // In the middle of whatever it does.
        running.child.kill('SIGKILL');
        running = await startConductor({ DATABASE_URL: alarms.url });
      }
      await until('all is evaluated', async () => (await alarms.waiting()) === 0, { timeoutMs: 30_000 });
      const raised = await alarms.alarms(rule);
      expect(raised.map(({ since, state }) => [since, state])).toEqual(
        Array.from({ length: 60 }, (_, index) => [at + index * 2000, 'cleared']),
      );
      expect(await alarms.changes(rule)).toHaveLength(120);
      const operations = await alarms.all<{ id: string }>('SELECT id FROM operations WHERE tenant_id = ?', [
        tenant,
      ]);
      expect(new Set(raised.map(({ operation_id }) => operation_id))).toEqual(
        new Set(operations.map(({ id }) => id)),
      );
      expect(operations.length).toBeGreaterThan(0);
    } finally {
      for (const child of children.splice(0)) {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }
      await alarms.close();
    }
  }, 60_000);

  it('name every fault of their configuration and exit with 78', async () => {
    const child = spawn(process.execPath, ['conductor/main.ts'], {
      env: { ...process.env, DATABASE_URL: '', BOARDWALK_RETENTION_DAYS: '0', BOARDWALK_AUDIT_DAYS: 'x' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += chunk;
    });
    expect(await once(child, 'close')).toEqual([78, null]);
    for (const name of [
      'DATABASE_URL',
      'BOARDWALK_RELAY_KEY',
      'BOARDWALK_RETENTION_DAYS',
      'BOARDWALK_AUDIT_DAYS',
    ])
      expect(output).toContain(name);
  });
});
