import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { commandRollout, type RolloutCommand } from '../../../common/db/queries/rollouts.ts';
import type { RolloutOptions } from '../../../common/operations/rollout.ts';
import type { TaskContext } from '../../../conductor/scheduler.ts';
import { createBudget } from '../../../conductor/tasks/chunks.ts';
import { keepOperations } from '../../../conductor/tasks/operations.ts';
import { moveRollouts } from '../../../conductor/tasks/rollouts.ts';
import { type EngineFixture, openEngineFixture } from './engine-support.ts';
import { createContext } from './support.ts';

let fix: EngineFixture;
let tenant: string;
let boards: string[];

beforeAll(async () => {
  fix = await openEngineFixture();
});
afterAll(() => fix.close());
beforeEach(async () => {
  await fix.connection.query("UPDATE rollouts SET state = 'finished'");
  tenant = await fix.rows.tenant();
  boards = [];
  for (let count = 0; count < 10; count += 1)
    boards.push(await fix.rows.board(tenant, `b${count}`, { contracts_hash: 'ordinary' }));
});

/** Waves of 2, 3 and 5 boards, unless said otherwise. */
async function rollout(options: Partial<RolloutOptions> = {}, state = 'running'): Promise<string> {
  const id = await fix.operation(
    tenant,
    boards,
    { delivery: 'rollout' },
    { targets: { queue: 0, wave: 3 }, queued: false },
  );
  for (const [wave, part] of [
    [1, boards.slice(0, 2)],
    [2, boards.slice(2, 5)],
  ] as const)
    await fix.connection.query(
      'UPDATE operation_targets SET wave = ? WHERE operation_id = ? AND board_uuid IN (?)',
      [wave, id, part],
    );
  const all = {
    waves: [{ count: 2 }, { count: 3 }, { count: 1 }],
    successPercent: 100,
    approval: 'none',
    ...options,
  };
  const at = new Date();
  await fix.connection.query('INSERT INTO rollouts SET ?', [
    {
      operation_id: id,
      tenant_id: tenant,
      state,
      options: JSON.stringify(all),
      waves: 3,
      created_at: at,
      updated_at: at,
    },
  ]);
  return id;
}

const context = () => createContext(fix.database);
const move = (given: TaskContext = context()) =>
  moveRollouts(given, createBudget(given, 5000), () => undefined);
const row = async (id: string) => {
  const [rows] = await fix.connection.query(
    'SELECT state, wave, released, reason FROM rollouts WHERE operation_id = ?',
    [id],
  );
  return (rows as { state: string; wave: number; released: number; reason: string | null }[])[0];
};
const queued = async (id: string) =>
  Number(
    await fix.value('SELECT COUNT(*) FROM operation_targets WHERE operation_id = ? AND queue = 1', [id]),
  );
const end = (id: string, state: string, limit = 100) =>
  fix.connection.query(
    'UPDATE operation_targets SET state = ?, queue = NULL, version = version + 1 WHERE operation_id = ? AND queue = 1 LIMIT ?',
    [state, id, limit],
  );
const tell = (id: string, command: RolloutCommand) =>
  fix.database.transaction((manager) => commandRollout(manager, id, command, 'user:1'));
const timeline = async (id: string) => {
  const [rows] = await fix.connection.query(
    'SELECT kind FROM operation_events WHERE operation_id = ? AND board_uuid IS NULL ORDER BY id',
    [id],
  );
  return (rows as { kind: string }[]).map(({ kind }) => kind);
};

describe('a rollout', () => {
  it('goes wave by wave to its end', async () => {
    const id = await rollout();
    await move();
    expect(await row(id)).toMatchObject({ state: 'running', wave: 1, released: 2 });
    expect(await queued(id)).toBe(2);
    expect(
      await fix.value('SELECT COUNT(*) FROM board_queues WHERE ready = 1 AND board_uuid IN (?)', [boards]),
    ).toBe(2);
    await end(id, 'succeeded', 1);
    await move();
    expect(await row(id)).toMatchObject({ wave: 1 });
    await end(id, 'succeeded');
    await move();
    expect(await row(id)).toMatchObject({ wave: 2, released: 3 });
    await end(id, 'succeeded');
    await move();
    expect(await row(id)).toMatchObject({ wave: 3, released: 5 });
    await end(id, 'failed');
    await move();
    expect(await row(id)).toMatchObject({ state: 'finished', wave: 3 });
    expect(await timeline(id)).toEqual(['wave-opened', 'wave-opened', 'wave-opened', 'finished']);
  });

  it('pauses when too few of a wave succeeded, and goes on when somebody accepts that', async () => {
    const id = await rollout();
    await move();
    await end(id, 'succeeded', 1);
    await end(id, 'failed');
    await move();
    expect(await row(id)).toMatchObject({
      state: 'paused',
      wave: 1,
      reason: 'in wave 1 of 3, 1 of 2 succeeded (50 %, at least 100 % are asked for)',
    });
    await move();
    expect(await queued(id)).toBe(0);
    await tell(id, 'resume');
    await move();
    expect(await row(id)).toMatchObject({ state: 'running', wave: 2, reason: null });
    expect(await queued(id)).toBe(3);
    expect(await timeline(id)).toEqual(['wave-opened', 'paused', 'resumed']);
  });

  it('waits for the approval of each wave', async () => {
    const id = await rollout({ approval: 'each-wave' });
    await move();
    expect(await row(id)).toMatchObject({
      state: 'waiting',
      wave: 0,
      reason: 'wave 1 of 3 waits for approval',
    });
    await tell(id, 'approve');
    await move();
    expect(await queued(id)).toBe(2);
    await end(id, 'succeeded');
    await move();
    expect(await row(id)).toMatchObject({ state: 'waiting', wave: 1 });
    await expect(tell(id, 'resume')).rejects.toMatchObject({ code: 'conflict' });
    await tell(id, 'approve');
    await move();
    expect(await row(id)).toMatchObject({ state: 'running', wave: 2, released: 3 });
    expect(await timeline(id)).toEqual(['waiting-approval', 'approved', 'waiting-approval', 'approved']);
  });

  it('holds back what was not let in while it is paused', async () => {
    const id = await rollout({ rate: { perMinute: 1 } });
    await move();
    expect(await queued(id)).toBe(1);
    await tell(id, 'pause');
    await fix.connection.query(
      'UPDATE rollouts SET released_at = released_at - INTERVAL 10 MINUTE WHERE operation_id = ?',
      [id],
    );
    await move();
    expect(await queued(id)).toBe(1);
    await tell(id, 'resume');
    await move();
    expect(await queued(id)).toBe(2);
  });

  it('is given up when too many fail: what was not sent is cancelled, and the operation ends', async () => {
    const id = await rollout({ successPercent: 0, abort: { failedPercent: 50, afterEnded: 2 } });
    await move();
    await end(id, 'failed', 1);
    await end(id, 'succeeded');
    await move();
    expect(await row(id)).toMatchObject({
      state: 'aborted',
      reason: '1 of 2 failed (50 %, it is given up at 50 %)',
    });
    expect(
      await fix.value(
        "SELECT COUNT(*) FROM operation_targets WHERE operation_id = ? AND state = 'cancelled'",
        [id],
      ),
    ).toBe(8);
    expect(await fix.target(id, boards.at(-1))).toMatchObject({
      error: { code: 'cancelled', message: expect.stringContaining('1 of 2 failed') },
    });
    expect(await fix.state(id)).toBe('failed');
  });

  it('lets what is under way end when somebody aborts it', async () => {
    const id = await rollout();
    await move();
    await fix.connection.query(
      "UPDATE operation_targets SET state = 'running' WHERE operation_id = ? AND queue = 1 LIMIT 1",
      [id],
    );
    await tell(id, 'abort');
    await move();
    expect(
      await fix.value(
        "SELECT COUNT(*) FROM operation_targets WHERE operation_id = ? AND state = 'cancelled'",
        [id],
      ),
    ).toBe(9);
    expect(await fix.state(id)).toBe('active');
  });

  it('survives the death of its conductor at every step, and no board is let in twice or left out', async () => {
    const id = await rollout();
    for (let round = 0; (await row(id))?.state !== 'finished'; round += 1) {
      expect(round).toBeLessThan(40);
      // Dies in the middle of the second transaction of each run, and between any two.
      let writes = 0;
      const dying: TaskContext = {
        ...context(),
        write: (work, options) => {
          writes += 1;
          const dies = writes === 2;
          return context().write(async (manager) => {
            const result = await work(manager);
            if (dies) throw new Error('the conductor died');
            return result;
          }, options);
        },
      };
      await move(dying).catch((error: unknown) => expect(String(error)).toContain('died'));
      await end(id, 'succeeded', 2);
    }
    expect(
      await fix.value(
        "SELECT COUNT(*) FROM operation_targets WHERE operation_id = ? AND state = 'succeeded'",
        [id],
      ),
    ).toBe(10);
    // One release each: the version rose by the release and the end.
    expect(
      await fix.value('SELECT COUNT(*) FROM operation_targets WHERE operation_id = ? AND version <> 3', [id]),
    ).toBe(0);
    expect(await timeline(id)).toEqual(['wave-opened', 'wave-opened', 'wave-opened', 'finished']);
  });

  it('is moved by one conductor at a time: of two that decide at once one writes', async () => {
    const id = await rollout();
    await Promise.all([move(), move(), move()]);
    await move();
    expect(await row(id)).toMatchObject({ wave: 1, released: 2 });
    expect(await timeline(id)).toEqual(['wave-opened']);
  });

  it('reaches its boards through the engine', async () => {
    boards = [];
    for (let count = 0; count < 10; count += 1)
      boards.push((await fix.online(tenant, `online ${count}`)).uuid);
    const id = await rollout();
    const engine = fix.start();
    for (let round = 0; (await row(id))?.state !== 'finished' && round < 100; round += 1) {
      await keepOperations(context(), { graceMs: 60_000, onQueued: () => engine.wake() });
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await fix.stopEngines();
    expect(await fix.state(id)).toBe('succeeded');
    const order = fix.relay.calls.map(({ boardUuid }) => boards.indexOf(boardUuid));
    expect(order.slice(0, 2).every((index) => index < 2)).toBe(true);
    expect(order.slice(2, 5).every((index) => index >= 2 && index < 5)).toBe(true);
    expect(order).toHaveLength(10);
  });
});
