/** Cancelling, retrying, resolving and steering operations, and what their timelines tell of it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let ops: OperationsApi;
beforeAll(async () => {
  ops = await startOperationsApi();
});
afterAll(async () => ops?.stop());

const ended = (state: string) => ({ state, queue: null, ended_at: new Date(), attempt: 1, deliveries: 1 });
async function end(id: string, state: string): Promise<void> {
  await ops.targets(id, ended(state));
  await ops.api.connection.query('UPDATE operations SET state = ?, ended_at = NOW(3) WHERE id = ?', [
    state === 'succeeded' ? 'succeeded' : 'failed',
    id,
  ]);
}
const timeline = async (id: string, query = '') =>
  (await ops.get(`/v1/operations/${id}/timeline${query}`)).body as {
    state: string;
    items: { kind: string; board: string | null; evidence: Record<string, unknown> }[];
    waiting: { board: string | null; reason: string; text: string }[];
    next?: string;
  };
const queueOf = async (board: string) =>
  (await ops.rows('SELECT ready, mark FROM board_queues WHERE board_uuid = ?', [board]))[0];

describe('cancel', () => {
  it('ends what was not sent at once, and the operation with it', async () => {
    const board = await ops.board();
    const { id } = (await ops.create({ target: { boards: [board] } })).body;
    const answer = await ops.post(`/v1/operations/${id}/cancel`);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body).toMatchObject({
      state: 'cancelled',
      counts: { cancelled: 1 },
      targets: [{ state: 'cancelled', error: { code: 'cancelled' } }],
    });
    expect(answer.body.endedAt).not.toBeNull();
    const { items, waiting } = await timeline(id);
    expect(items.map(({ kind, board: of }) => [kind, of])).toEqual([
      ['created', null],
      ['cancelled', board],
      ['cancelled', null],
    ]);
    expect(items[1]?.evidence.by).toMatch(/^user:/);
    expect(waiting).toEqual([]);
  });

  it('asks boards that have it to stop, and does not say that they did', async () => {
    const board = await ops.board();
    const { id } = (await ops.create({ target: { boards: [board] } })).body;
    await ops.targets(id, { state: 'running', attempt: 1, accepted_at: new Date() });
    const before = await queueOf(board);
    const answer = await ops.post(`/v1/operations/${id}/cancel`);
    expect(answer.body).toMatchObject({
      state: 'active',
      targets: [{ state: 'running', cancelRequested: true }],
    });
    const after = await queueOf(board);
    expect([after?.ready, after?.mark]).toEqual([1, Number(before?.mark) + 1]);
    expect((await timeline(id)).waiting).toMatchObject([{ board, reason: 'cancelling' }]);
    // Once more changes nothing.
    await ops.post(`/v1/operations/${id}/cancel`);
    expect((await timeline(id)).items.filter(({ kind }) => kind === 'cancel-requested')).toHaveLength(1);
  });

  it('of some boards leaves the others alone', async () => {
    const [one, two] = [await ops.board('c-one'), await ops.board('c-two')];
    const { id } = (await ops.create({ target: { boards: [one, two] } })).body;
    const answer = await ops.post(`/v1/operations/${id}/cancel`, { boards: ['C-One'] });
    expect(answer.body).toMatchObject({ state: 'active', counts: { cancelled: 1, queued: 1 } });
    const missing = await ops.post(`/v1/operations/${id}/cancel`, { boards: ['nobody', two] });
    expect([missing.status, missing.body.code]).toEqual([404, 'board-not-found']);
    expect(missing.body.detail).toContain('nobody');
  });

  it('of what has ended is refused with its state', async () => {
    const { id } = (await ops.create({ target: { boards: [await ops.board()] } })).body;
    await end(id, 'succeeded');
    const answer = await ops.post(`/v1/operations/${id}/cancel`);
    expect([answer.status, answer.body.code, answer.body.state]).toEqual([
      409,
      'operation-ended',
      'succeeded',
    ]);
  });

  it('of one that is being prepared keeps it from reaching further boards', async () => {
    const boards = [await ops.board(), await ops.board()];
    const make = async () => {
      const { id } = (await ops.create({ target: { boards } })).body;
      await ops.api.connection.query(
        "UPDATE operations SET state = 'preparing', pending_boards = ?, target_count = 5000 WHERE id = ?",
        [JSON.stringify(boards), id],
      );
      return id;
    };
    const begun = await make();
    expect((await ops.get(`/v1/operations/${begun}`)).body.counts).toEqual({ queued: 5000 });
    const answer = await ops.post(`/v1/operations/${begun}/cancel`);
    expect(answer.body).toMatchObject({ state: 'cancelled', targetCount: 2, counts: { cancelled: 2 } });
    const fresh = await make();
    await ops.api.connection.query('DELETE FROM operation_targets WHERE operation_id = ?', [fresh]);
    expect((await ops.post(`/v1/operations/${fresh}/cancel`)).body).toMatchObject({
      state: 'cancelled',
      targetCount: 0,
    });
    const some = await ops.post(`/v1/operations/${await make()}/cancel`, { boards: [boards[0]] });
    expect(some.body.code).toBe('conflict');
  });

  it('of more boards than fit into one transaction cancels all of them', async () => {
    const tenant = await ops.api.rows.tenant();
    const { token } = await ops.api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } });
    const now = new Date();
    await ops.api.connection.query(
      'INSERT INTO boards (uuid, tenant_id, name, created_at, updated_at) VALUES ?',
      [Array.from({ length: 800 }, (_, index) => [randomUUID(), tenant, `m-${index}`, now, now])],
    );
    await ops.api.connection.query(
      "INSERT INTO board_labels (board_uuid, tenant_id, label_key, label_value) SELECT uuid, tenant_id, 'all', '1' FROM boards WHERE tenant_id = ?",
      [tenant],
    );
    const body = { procedure: 'reboot', target: { selector: 'all' }, delivery: 'when-online' };
    const { id } = (await ops.post('/v1/operations', body, { token })).body;
    const lines = (await ops.api.request(`/v1/operations/${id}/timeline`, { token })).body.waiting;
    expect(lines).toHaveLength(100);
    expect(lines.at(-1).text).toBe('and 701 more boards are offline');
    const answer = await ops.post(`/v1/operations/${id}/cancel`, undefined, { token });
    expect(answer.body).toMatchObject({ state: 'cancelled', counts: { cancelled: 800 } });
  });
});

describe('retry', () => {
  it('queues what failed or expired as its next attempt, with the attempts that it takes', async () => {
    const boards = (await Promise.all([ops.board(), ops.board(), ops.board()])).sort();
    const { id } = (await ops.create({ target: { boards }, attempts: 2 })).body;
    const [failed, expired, done] = boards as [string, string, string];
    await ops.targets(id, { ...ended('failed'), attempt: 2 }, failed);
    await ops.targets(id, { ...ended('expired'), attempt: 0 }, expired);
    await ops.targets(id, ended('succeeded'), done);
    await ops.api.connection.query("UPDATE operations SET state = 'failed', ended_at = NOW(3) WHERE id = ?", [
      id,
    ]);
    const answer = await ops.post(`/v1/operations/${id}/retry`);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body).toMatchObject({ state: 'active', attempts: 3, endedAt: null });
    expect(answer.body.targets).toMatchObject([
      { board: failed, state: 'queued', attempt: 3, deliveries: 0, error: null, endedAt: null },
      { board: expired, state: 'queued', attempt: 0 },
      { board: done, state: 'succeeded' },
    ]);
    const queued = await ops.rows(
      'SELECT queue FROM operation_targets WHERE operation_id = ? AND queue = 1',
      [id],
    );
    expect(queued).toHaveLength(2);
    expect((await queueOf(failed))?.ready).toBe(1);
    expect((await timeline(id, `?board=${failed}`)).items.map(({ kind }) => kind)).toEqual([
      'created',
      'retried',
    ]);
  });

  it('leaves unknown ones alone unless they are named', async () => {
    const { id } = (await ops.create({ target: { boards: [await ops.board()] } })).body;
    await end(id, 'unknown');
    const refused = await ops.post(`/v1/operations/${id}/retry`, {});
    expect([refused.status, refused.body.code, refused.body.state]).toEqual([409, 'conflict', 'failed']);
    const answer = await ops.post(`/v1/operations/${id}/retry`, { states: ['unknown'] });
    expect(answer.body).toMatchObject({ state: 'active', targets: [{ state: 'queued', attempt: 2 }] });
  });

  it('needs a new deadline when the old one has passed', async () => {
    const { id } = (await ops.create({ target: { boards: [await ops.board()] } })).body;
    await end(id, 'expired');
    await ops.api.connection.query("UPDATE operations SET deadline_at = '2026-01-01' WHERE id = ?", [id]);
    const refused = await ops.post(`/v1/operations/${id}/retry`);
    expect([refused.status, refused.body.errors[0].pointer]).toEqual([400, '/deadline']);
    const deadline = new Date(Date.now() + 3_600_000).toISOString();
    const answer = await ops.post(`/v1/operations/${id}/retry`, { deadline });
    expect(answer.body).toMatchObject({ state: 'active', deadline });
    const [row] = await ops.rows('SELECT deadline_at AS at FROM operation_targets WHERE operation_id = ?', [
      id,
    ]);
    expect(row?.at.toISOString()).toBe(deadline);
  });
});

describe('resolve', () => {
  it('has the boards of unknown targets asked, and leaves them as they are until they answer', async () => {
    const board = await ops.board();
    const { id } = (await ops.create({ target: { boards: [board] } })).body;
    const none = await ops.post(`/v1/operations/${id}/resolve`);
    expect([none.status, none.body.code]).toEqual([409, 'conflict']);
    await end(id, 'unknown');
    const answer = await ops.post(`/v1/operations/${id}/resolve`);
    expect(answer.status, answer.text).toBe(202);
    expect(answer.body).toMatchObject({ state: 'failed', targets: [{ state: 'unknown' }] });
    const [row] = await ops.rows('SELECT queue FROM operation_targets WHERE operation_id = ?', [id]);
    expect(row?.queue).toBe(1);
    expect((await queueOf(board))?.ready).toBe(1);
    expect((await timeline(id)).waiting).toMatchObject([{ board, reason: 'journal' }]);
  });
});

describe('a retry of an aborted rollout', () => {
  it('waits until what was not sent is cancelled: nobody would let it in any more', async () => {
    const boards = [await ops.board(), await ops.board()];
    const { id } = (await ops.create({ target: { boards } })).body;
    await ops.targets(id, ended('failed'), boards[0]);
    await ops.targets(id, { queue: 0, wave: 2 }, boards[1]);
    const now = new Date();
    await ops.api.rows.insert('rollouts', {
      operation_id: id,
      tenant_id: ops.tenant,
      state: 'aborted',
      options: '{}',
      waves: 2,
      wave: 1,
      created_at: now,
      updated_at: now,
    });
    const early = await ops.post(`/v1/operations/${id}/retry`);
    expect([early.status, early.body.code]).toEqual([409, 'conflict']);
    await ops.targets(id, ended('cancelled'), boards[1]);
    const answer = await ops.post(`/v1/operations/${id}/retry`);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body.counts).toEqual({ queued: 1, cancelled: 1 });
  });
});

describe('rollouts', () => {
  const order = (boards: string[], rollout: object = {}) => ({
    procedure: 'reboot',
    target: { boards },
    delivery: 'rollout',
    rollout: { waves: [{ count: 1 }, { percent: 100 }], ...rollout },
  });
  async function make(rollout: object = {}): Promise<string> {
    const body = order(await Promise.all([ops.board(), ops.board(), ops.board()]), rollout);
    const plan = await ops.post('/v1/operations/plan', body);
    const answer = await ops.post('/v1/operations', { ...body, plan: plan.body.hash });
    expect(answer.status, answer.text).toBe(202);
    return answer.body.id;
  }
  const step = (id: string, name: string) => ops.post(`/v1/operations/${id}/${name}`);

  it('apply the plan that was looked at, and no other', async () => {
    const label = { batch: randomUUID().slice(0, 8) };
    await ops.board('plan-b', {}, label);
    await ops.board('plan-a', {}, label);
    const target = { selector: `batch=${label.batch}` };
    const body = { ...order([]), target };
    const before = await ops.api.checksums();
    const plan = await ops.post('/v1/operations/plan', body);
    expect(await ops.api.checksums()).toEqual(before);
    expect(plan.body).toMatchObject({ count: 2, waves: [1, 1], online: 2, unverified: 0, excluded: [] });
    expect(plan.body.targets.map((each: { name: string }) => each.name)).toEqual(['plan-a', 'plan-b']);
    expect((await ops.post('/v1/operations', body)).body.errors[0].pointer).toBe('/plan');
    await ops.board('plan-c', {}, label);
    const changed = await ops.post('/v1/operations', { ...body, plan: plan.body.hash });
    expect([changed.status, changed.body.code]).toEqual([409, 'plan-changed']);
    expect(changed.body.plan).toMatchObject({ count: 3, waves: [1, 2] });
    const answer = await ops.post('/v1/operations', { ...body, plan: changed.body.plan.hash });
    expect(answer.body).toMatchObject({ targetCount: 3, rollout: { state: 'running', wave: 0, waves: 2 } });
    expect(answer.body.targets.map((each: { wave: number }) => each.wave).sort()).toEqual([1, 2, 2]);
  });

  it('are paused and go on', async () => {
    const id = await make();
    expect((await step(id, 'pause')).body.rollout).toMatchObject({ state: 'paused' });
    expect((await timeline(id)).waiting[0]).toMatchObject({ reason: 'paused' });
    const again = await step(id, 'pause');
    expect([again.status, again.body.code, again.body.state]).toEqual([409, 'conflict', 'paused']);
    expect((await step(id, 'resume')).body.rollout).toMatchObject({ state: 'running', reason: null });
    expect((await timeline(id)).items.map(({ kind }) => kind)).toEqual(['created', 'paused', 'resumed']);
  });

  it('wait for approval of their first wave when it was asked for', async () => {
    const id = await make({ approval: 'start' });
    expect((await ops.get(`/v1/operations/${id}`)).body.rollout).toMatchObject({ state: 'waiting', wave: 0 });
    expect((await timeline(id)).waiting).toMatchObject([
      { reason: 'approval', text: 'wave 1 of 2 waits for approval' },
    ]);
    expect((await step(id, 'approve')).body.rollout).toMatchObject({ state: 'running', wave: 1 });
    expect((await step(id, 'approve')).body.code).toBe('conflict');
  });

  it('are ended by their cancellation, with what they held back', async () => {
    const id = await make();
    const answer = await step(id, 'cancel');
    expect(answer.body).toMatchObject({
      state: 'cancelled',
      counts: { cancelled: 3 },
      rollout: { state: 'aborted' },
    });
    // A retry is no rollout any more: nobody cancels it again.
    const retried = await ops.post(`/v1/operations/${id}/retry`, { states: ['cancelled'] });
    expect(retried.body).toMatchObject({
      state: 'active',
      counts: { queued: 3 },
      rollout: { state: 'finished' },
    });
  });

  it('are what the steps are for', async () => {
    const { id } = (await ops.create({ target: { boards: [await ops.board()] } })).body;
    for (const name of ['pause', 'resume', 'approve'])
      expect((await step(id, name)).body).toMatchObject({
        code: 'conflict',
        detail: 'the operation is no rollout',
      });
  });
});

describe('the timeline', () => {
  it('has what happened page by page, and of one board when it is asked for', async () => {
    const [one, two] = [await ops.board('t-one'), await ops.board('t-two')];
    const { id } = (await ops.create({ target: { boards: [one, two] } })).body;
    await ops.post(`/v1/operations/${id}/cancel`);
    const first = await timeline(id, '?limit=1');
    expect(first.items.map(({ kind }) => kind)).toEqual(['created']);
    const rest = await timeline(id, `?limit=10&after=${encodeURIComponent(first.next ?? '')}`);
    expect(rest.items).toHaveLength(3);
    const ofOne = await timeline(id, '?board=t-one');
    expect(ofOne.items.map(({ board }) => board)).toEqual([null, one, null]);
    expect((await ops.get(`/v1/operations/${id}/timeline?board=nobody`)).body.code).toBe('board-not-found');
  });

  it('says why each board waits', async () => {
    const boards = {
      busy: await ops.board('w-busy'),
      away: await ops.board('w-away', { status: 'offline', last_seen_at: new Date(Date.now() - 180_000) }),
    };
    const front = (await ops.create({ target: { boards: [boards.busy] } })).body.id;
    const { id } = (await ops.create({ target: { boards: Object.values(boards) } })).body;
    const { waiting } = await timeline(id);
    const lineOf = (board: string) => waiting.find((each) => each.board === board);
    expect(lineOf(boards.busy)).toMatchObject({
      reason: 'order',
      text: `it waits for operation ${front} on board w-busy`,
    });
    expect(lineOf(boards.away)).toMatchObject({ reason: 'board-offline' });
    expect(lineOf(boards.away)?.text).toMatch(/^board w-away was last seen 20.*Z \(3 min ago\)$/);
    expect((await timeline(id, '?board=w-away')).waiting).toHaveLength(1);
  });
});
