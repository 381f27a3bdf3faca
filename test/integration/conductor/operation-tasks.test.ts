import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TaskContext } from '../../../conductor/scheduler.ts';
import { createBudget } from '../../../conductor/tasks/chunks.ts';
import { clearDeletedBoards } from '../../../conductor/tasks/deleted-boards.ts';
import { expandOperations } from '../../../conductor/tasks/expand.ts';
import { endOverdue } from '../../../conductor/tasks/expiry.ts';
import { trimOperations } from '../../../conductor/tasks/operation-retention.ts';
import { sweepOperations } from '../../../conductor/tasks/operations.ts';
import { type EngineFixture, openEngineFixture } from './engine-support.ts';
import { createContext } from './support.ts';

let fix: EngineFixture;
let tenant: string;

beforeAll(async () => {
  fix = await openEngineFixture();
  tenant = await fix.rows.tenant();
});
afterAll(() => fix.close());

const context = () => createContext(fix.database);
const within = (given: TaskContext) => createBudget(given, 5000);
const ago = (ms: number) => new Date(Date.now() - ms);
const states = async (id: string) => {
  const [rows] = await fix.connection.query(
    'SELECT state, COUNT(*) AS n FROM operation_targets WHERE operation_id = ? GROUP BY state ORDER BY state',
    [id],
  );
  return Object.fromEntries((rows as { state: string; n: number }[]).map(({ state, n }) => [state, n]));
};
const uuids = (count: number) => Array.from({ length: count }, () => randomUUID());

describe('deadlines', () => {
  it('end what was never sent as expired, held back or not, in many steps, and the operation with it', async () => {
    const boards = uuids(1200);
    const deadline = { deadline_at: ago(1000) };
    const id = await fix.operation(tenant, boards, deadline, { queued: false });
    const held = await fix.operation(tenant, boards.slice(0, 3), deadline, {
      targets: { queue: 0 },
      queued: false,
    });
    const later = await fix.operation(tenant, boards.slice(0, 3), {}, { queued: false });
    const given = context();
    expect(await endOverdue(given, within(given), 60_000)).toBe(1203);
    expect(await states(id)).toEqual({ expired: 1200 });
    expect([await fix.state(id), await fix.state(held), await fix.state(later)]).toEqual([
      'failed',
      'failed',
      'active',
    ]);
    expect(await fix.target(held, boards[0])).toMatchObject({
      queue: null,
      error: { code: 'deadline-exceeded' },
      ended_at: expect.any(Date),
    });
  });

  it('make unknown what was sent, after the grace and not before, and let the next one of the board go', async () => {
    const [board = ''] = uuids(1);
    const sent = { targets: { state: 'dispatched', attempt: 1 }, queued: false };
    const recent = await fix.operation(tenant, [board], { deadline_at: ago(30_000) }, sent);
    const old = await fix.operation(tenant, [board], { deadline_at: ago(61_000) }, sent);
    const given = context();
    expect(await endOverdue(given, within(given), 60_000)).toBe(1);
    expect(await fix.target(old)).toMatchObject({ state: 'unknown', error: { code: 'no-report' } });
    expect(await fix.target(recent)).toMatchObject({ state: 'dispatched' });
    expect(await fix.state(old)).toBe('failed');
    expect(await fix.queue(board)).toMatchObject({ ready: 1 });
    expect(await fix.kinds(old)).toEqual(['unknown']);
    await fix.connection.query(
      "UPDATE operation_targets SET queue = NULL, state = 'succeeded' WHERE operation_id = ?",
      [recent],
    );
  });
});

describe('a large operation', () => {
  async function large(count: number): Promise<{ id: string; boards: string[] }> {
    const boards = uuids(count);
    const pending = { state: 'preparing', pending_boards: JSON.stringify(boards), target_count: count };
    return { id: await fix.operation(tenant, [], pending, { queued: false }), boards };
  }

  it('has all of its targets written and queued, and is active then', async () => {
    const { id, boards } = await large(2500);
    const given = context();
    let woken = 0;
    expect(
      await expandOperations(given, within(given), () => {
        woken += 1;
      }),
    ).toBe(2500);
    expect(woken).toBe(3);
    expect(await states(id)).toEqual({ queued: 2500 });
    expect(await fix.state(id)).toBe('active');
    expect(
      await fix.value('SELECT COUNT(*) FROM board_queues WHERE ready = 1 AND board_uuid IN (?)', [boards]),
    ).toBe(2500);
    expect(await fix.value('SELECT pending_boards FROM operations WHERE id = ?', [id])).toBeNull();
  });

  it('goes on where its conductor died', async () => {
    const { id } = await large(2500);
    let writes = 0;
    const dying = createContext(fix.database, undefined, () => {
      writes += 1;
      if (writes === 3) throw new Error('the conductor died');
    });
    await expect(expandOperations(dying, within(dying), () => undefined)).rejects.toThrow('died');
    expect(await states(id)).toEqual({ queued: 2000 });
    expect(await fix.state(id)).toBe('preparing');
    const given = context();
    expect(await expandOperations(given, within(given), () => undefined)).toBe(500);
    expect(await states(id)).toEqual({ queued: 2500 });
    expect(await fix.state(id)).toBe('active');
  });

  it('gets waves in the order of its boards, and nothing queued, when it is a rollout', async () => {
    const { id, boards } = await large(1500);
    const at = new Date();
    await fix.connection.query('INSERT INTO rollouts SET ?', [
      {
        operation_id: id,
        tenant_id: tenant,
        state: 'running',
        options: JSON.stringify({
          waves: [{ count: 1100 }, { percent: 1 }],
          successPercent: 100,
          approval: 'none',
        }),
        waves: 2,
        created_at: at,
        updated_at: at,
      },
    ]);
    const given = context();
    await expandOperations(given, within(given), () => undefined);
    expect(await fix.target(id, boards[1099])).toMatchObject({ wave: 1, queue: 0 });
    expect(await fix.target(id, boards[1100])).toMatchObject({ wave: 2, queue: 0 });
    expect(await fix.value('SELECT COUNT(*) FROM board_queues WHERE board_uuid IN (?)', [boards])).toBe(0);
  });
});

describe('the sweep', () => {
  it('writes ends of operations of several targets that a crash left out', async () => {
    const boards = uuids(2);
    const done = { targets: { state: 'succeeded', queue: null }, queued: false };
    const over = await fix.operation(tenant, boards, {}, done);
    const open = await fix.operation(tenant, boards, {}, { queued: false });
    await sweepOperations(context());
    expect([await fix.state(over), await fix.state(open)]).toEqual(['succeeded', 'active']);
  });
});

describe('retention', () => {
  it('removes operations that ended long ago with all that is theirs, and no others', async () => {
    const day = 86_400_000;
    const boards = uuids(3);
    const done = { targets: { state: 'succeeded', queue: null }, queued: false };
    const old = await fix.operation(tenant, boards, { state: 'succeeded', ended_at: ago(91 * day) }, done);
    const young = await fix.operation(tenant, boards, { state: 'succeeded', ended_at: ago(89 * day) }, done);
    const rows = [old, young].map((id) => [id, null, 'created', '{}', new Date()]);
    await fix.connection.query(
      'INSERT INTO operation_events (operation_id, board_uuid, kind, evidence, at) VALUES ?',
      [rows],
    );
    expect(await trimOperations(context(), { operationDays: 90 })).toMatchObject({
      operations: 1,
      complete: true,
    });
    for (const table of ['operation_targets', 'operation_events']) {
      expect(await fix.value(`SELECT COUNT(*) FROM ${table} WHERE operation_id = ?`, [old])).toBe(0);
      expect(
        Number(await fix.value(`SELECT COUNT(*) FROM ${table} WHERE operation_id = ?`, [young])),
      ).toBeGreaterThan(0);
    }
    expect([await fix.state(old), await fix.state(young)]).toEqual([undefined, 'succeeded']);
  });
});

describe('a deleted board', () => {
  it('ends its part in operations, and leaves no queue', async () => {
    const [board = '', other = ''] = uuids(2);
    const held = await fix.operation(tenant, [board], {}, { targets: { queue: 0, wave: 1 } });
    const running = await fix.operation(
      tenant,
      [board, other],
      {},
      { targets: { state: 'running', attempt: 1 } },
    );
    await fix.connection.query(
      'INSERT INTO deleted_boards (board_uuid, tenant_id, deleted_at) VALUES (?, ?, ?)',
      [board, tenant, ago(3_600_000)],
    );
    expect(await clearDeletedBoards(context())).toMatchObject({ boards: 1, complete: true });
    expect(await fix.target(held)).toMatchObject({ state: 'cancelled', error: { code: 'board-deleted' } });
    expect(await fix.target(running, board)).toMatchObject({
      state: 'unknown',
      error: { code: 'board-deleted' },
    });
    expect(await fix.target(running, other)).toMatchObject({ state: 'running' });
    expect([await fix.state(held), await fix.state(running)]).toEqual(['cancelled', 'active']);
    expect(await fix.queue(board)).toBeUndefined();
  });
});
