/** Operations over HTTP: making, planning and reading them. No conductor runs: what it would do is done by rows. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../harness/until.ts';
import { openEvents } from '../events-support.ts';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let ops: OperationsApi;
beforeAll(async () => {
  ops = await startOperationsApi();
});
afterAll(async () => ops?.stop());

describe('making an operation', () => {
  it('answers with its place once it is stored, and it can be read there', async () => {
    const board = await ops.board('gw-1');
    const answer = await ops.create({ target: { boards: ['gw-1'] }, attempts: 3 });
    expect(answer.status, answer.text).toBe(202);
    const { id } = answer.body;
    expect(answer.headers.get('location')).toBe(`/v1/operations/${id}`);
    expect(answer.body).toMatchObject({
      tenant: ops.tenant,
      procedure: 'reboot',
      kwargs: {},
      target: { boards: ['gw-1'] },
      delivery: 'when-online',
      window: null,
      rollout: null,
      state: 'active',
      attempts: 3,
      targetCount: 1,
      counts: { queued: 1 },
      targets: [{ board, boardName: 'gw-1', state: 'queued', attempt: 0, safety: 'journaled', result: null }],
      version: 1,
      endedAt: null,
    });
    expect(answer.body.excluded).toBeUndefined();
    const read = await ops.get(`/v1/operations/${id}`);
    expect(read.body).toEqual(answer.body);
    expect(read.headers.get('etag')).toBe('"1"');
  });

  it('gives an hour to what is for now, else seven days', async () => {
    const board = await ops.board();
    const hours = async (delivery: string) => {
      const { body } = await ops.create({ target: { boards: [board] }, delivery });
      return Math.round((Date.parse(body.deadline) - Date.now()) / 360_000) / 10;
    };
    expect(await hours('now')).toBe(1);
    expect(await hours('when-online')).toBe(168);
  });

  it('leaves out boards that cannot do it, and says which', async () => {
    await ops.board('able', {}, { group: 'mixed' });
    await ops.api.rows.board(ops.tenant, { name: 'unable', contracts_hash: 'none' }, { group: 'mixed' });
    const { body } = await ops.create({ target: { selector: 'group=mixed' } });
    expect(body).toMatchObject({
      targetCount: 1,
      excluded: [{ name: 'unable', reason: 'procedure-not-found' }],
    });
    const strict = await ops.create({ target: { selector: 'group=mixed' }, strict: true });
    expect([strict.status, strict.body.code]).toEqual([422, 'invalid-arguments']);
    expect(strict.body.errors).toEqual([
      { pointer: '/target', detail: "unable: the board has no procedure 'reboot'" },
    ]);
  });

  it('refuses what no board can do', async () => {
    const board = await ops.board();
    const unknown = await ops.create({ target: { boards: [board] }, procedure: 'fly' });
    expect([unknown.status, unknown.body.code]).toEqual([404, 'procedure-not-found']);
    const broken = await ops.create({
      target: { boards: [board] },
      procedure: 'gpio.write',
      kwargs: { pin: 8 },
    });
    expect([broken.status, broken.body.code]).toEqual([422, 'invalid-arguments']);
    expect(broken.body.errors).toEqual([{ pointer: '/kwargs/pin', detail: 'must be at most 7' }]);
    const missing = await ops.create({ target: { boards: [board, 'nobody'] } });
    expect([missing.status, missing.body.code]).toEqual([404, 'board-not-found']);
    expect(missing.body.detail).toContain('nobody');
  });

  it('is audited, and told to listeners with the tenant', async () => {
    const board = await ops.board();
    const client = await openEvents(ops.api.url, ops.token, { query: 'types=operation' });
    const { body } = await ops.create({ target: { boards: [board] } });
    await until('the event', () => client.of('operation').length > 0);
    expect(client.of('operation')[0]?.data).toMatchObject({
      operation: body.id,
      state: 'active',
      board: null,
      tenant: ops.tenant,
    });
    client.close();
    const [row] = await ops.rows(
      "SELECT * FROM audit_events WHERE action = 'createOperation' AND target = ?",
      [body.id],
    );
    expect(row).toMatchObject({ result: 'ok', target_kind: 'operation', tenant_id: ops.tenant });
  });

  it('finds the tenant by the first board when the caller has several', async () => {
    const board = await ops.board();
    const admin = await ops.api.rows.user({ isAdmin: true });
    await ops.api.rows.tenant();
    const body = { procedure: 'reboot', target: { boards: [board] }, delivery: 'when-online' };
    const answer = await ops.post('/v1/operations', body, { token: admin.token });
    expect(answer.body).toMatchObject({ tenant: ops.tenant, createdBy: `user:${admin.id}` });
    const vague = await ops.post(
      '/v1/operations',
      { ...body, target: { selector: 'x' } },
      { token: admin.token },
    );
    expect(vague.body.errors).toEqual([{ pointer: '/tenant', detail: 'is required' }]);
  });

  it('is refused beyond the quotas of the tenant, which are named', async () => {
    const tenant = await ops.api.rows.tenant();
    const board = await ops.api.rows.board(tenant);
    const { token } = await ops.api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } });
    const admin = await ops.api.rows.user({ isAdmin: true });
    const limit = (body: object) =>
      ops.api.request(`/v1/tenants/${tenant}/quotas`, { method: 'PUT', token: admin.token, body });
    const create = () =>
      ops.post(
        '/v1/operations',
        { procedure: 'reboot', target: { boards: [board] }, delivery: 'now' },
        { token },
      );
    await limit({ openOperations: 1 });
    expect((await create()).status).toBe(202);
    const open = await create();
    expect([open.status, open.body.code, open.body.quota, open.body.limit]).toEqual([
      403,
      'quota-exceeded',
      'openOperations',
      1,
    ]);
    await limit({ operationsPerDay: 1 });
    expect((await create()).status).toBe(202);
    const day = await create();
    expect([day.status, day.body.code, day.body.quota]).toEqual([
      429,
      'too-many-requests',
      'operationsPerDay',
    ]);
    expect(Number(day.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});

describe('keys', () => {
  it('that are limited to boards reach these only, and know only what they made', async () => {
    const [mine, other] = [await ops.board(), await ops.board()];
    const { token, id } = await ops.api.rows.key(ops.tenant, { boards: [mine] });
    const of = (body: object) =>
      ops.post('/v1/operations', { procedure: 'reboot', delivery: 'now', ...body }, { token });
    const { body } = await of({ target: { boards: [mine] } });
    expect(body.createdBy).toBe(`key:${id}`);
    expect((await of({ target: { boards: [other] } })).body.code).toBe('board-not-found');
    const foreign = (await ops.create({ target: { boards: [mine] } })).body.id;
    expect((await ops.api.request(`/v1/operations/${foreign}`, { token })).body.code).toBe('not-found');
    expect((await ops.api.request(`/v1/operations/${foreign}/targets`, { token })).body.code).toBe(
      'not-found',
    );
    const list = await ops.api.request('/v1/operations', { token });
    expect(list.body.items.map((each: { id: string }) => each.id)).toEqual([body.id]);
  });

  it('that are limited to procedures may have these run only, and nobody those of the service', async () => {
    const board = await ops.board();
    const { token } = await ops.api.rows.key(ops.tenant, { procedures: ['gpio.*'] });
    const of = (procedure: string, as = token) =>
      ops.post(
        '/v1/operations',
        { procedure, kwargs: { pin: 1 }, target: { boards: [board] }, delivery: 'now' },
        { token: as },
      );
    expect((await of('gpio.write')).status).toBe(202);
    expect((await of('reboot')).body.code).toBe('forbidden');
    expect((await of('operation.run', ops.token)).body.code).toBe('forbidden');
  });
});

describe('an Idempotency-Key', () => {
  const create = (board: string, key: string, query = '') =>
    ops.post(
      `/v1/operations${query}`,
      { procedure: 'reboot', target: { boards: [board] }, delivery: 'when-online' },
      { headers: { 'idempotency-key': key } },
    );

  it('makes one operation of many requests at once', async () => {
    const board = await ops.board();
    const key = randomUUID();
    const answers = await Promise.all(Array.from({ length: 8 }, () => create(board, key)));
    expect(answers.map((each) => each.status)).toEqual(Array(8).fill(202));
    expect(new Set(answers.map((each) => each.body.id)).size).toBe(1);
    expect(
      await ops.rows('SELECT operation_id FROM operation_targets WHERE board_uuid = ?', [board]),
    ).toHaveLength(1);
  });

  it('gives the first answer again, also when the board is gone meanwhile', async () => {
    const board = await ops.board();
    const key = randomUUID();
    const first = await create(board, key);
    await ops.api.connection.query('DELETE FROM boards WHERE uuid = ?', [board]);
    const again = await create(board, key);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.headers.get('location')).toBe(`/v1/operations/${first.body.id}`);
  });
});

describe('the list', () => {
  let tenant: string;
  let token: string;
  const ids: string[] = [];
  let boards: string[];
  const list = async (query = '') => {
    const { body } = await ops.api.request(`/v1/operations${query}`, { token });
    return body.items.map((each: { id: string }) => ids.indexOf(each.id));
  };
  beforeAll(async () => {
    tenant = await ops.api.rows.tenant();
    const user = await ops.api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } });
    token = user.token;
    boards = [await ops.api.rows.board(tenant, { name: 'one' }), await ops.api.rows.board(tenant)];
    for (const [index, procedure] of ['a', 'b', 'a', 'b', 'a'].entries()) {
      const target = { boards: index < 3 ? boards : [boards[1]] };
      const { body } = await ops.post('/v1/operations', { procedure, target, delivery: 'now' }, { token });
      ids.push(body.id);
      await ops.api.connection.query('UPDATE operations SET created_at = ? WHERE id = ?', [
        new Date(Date.UTC(2026, 0, index + 1)),
        body.id,
      ]);
    }
    await ops.api.connection.query("UPDATE operations SET state = 'failed' WHERE id = ?", [ids[1]]);
  });

  it('is newest first, page by page', async () => {
    expect(await list()).toEqual([4, 3, 2, 1, 0]);
    const seen: number[] = [];
    let after = '';
    do {
      const { body } = await ops.api.request(`/v1/operations?limit=2${after}`, { token });
      seen.push(...body.items.map((each: { id: string }) => ids.indexOf(each.id)));
      after = body.next ? `&after=${encodeURIComponent(body.next)}` : '';
    } while (after);
    expect(seen).toEqual([4, 3, 2, 1, 0]);
  });

  it('filters by state, board, procedure, creator and time', async () => {
    expect(await list('?state=failed,succeeded')).toEqual([1]);
    expect(await list('?board=one')).toEqual([2, 1, 0]);
    expect(await list('?board=one&procedure=a')).toEqual([2, 0]);
    expect(await list(`?creator=user:${randomUUID()}`)).toEqual([]);
    expect(await list('?from=2026-01-02T00:00:00Z&to=2026-01-04T00:00:00Z')).toEqual([2, 1]);
    expect(await list(`?schedule=${randomUUID()}`)).toEqual([]);
  });

  it('has the counts of targets, and nothing of other tenants', async () => {
    const { body } = await ops.api.request('/v1/operations', { token });
    expect(body.items.map((each: { counts: object }) => each.counts)).toEqual([
      { queued: 1 },
      { queued: 1 },
      { queued: 2 },
      { queued: 2 },
      { queued: 2 },
    ]);
    const others = await ops.get('/v1/operations?limit=1000');
    expect(others.body.items.filter((each: { id: string }) => ids.includes(each.id))).toEqual([]);
    expect((await ops.get('/v1/operations?board=one')).body.code).toBe('board-not-found');
  });
});

describe('targets', () => {
  it('are listed by board with state, result, error and artifacts', async () => {
    const boards = (await Promise.all([ops.board(), ops.board(), ops.board()])).sort();
    const { body } = await ops.create({ target: { boards } });
    const ended = { queue: null, ended_at: new Date(), attempt: 1 };
    const [first, second] = boards as [string, string, string];
    await ops.targets(body.id, { ...ended, state: 'succeeded', result: JSON.stringify('text') }, first);
    const error = { code: 'procedure-failed', message: 'no' };
    await ops.targets(body.id, { ...ended, state: 'failed', error: JSON.stringify(error) }, second);
    await ops.api.rows.insert('artifacts', {
      id: randomUUID(),
      tenant_id: ops.tenant,
      board_uuid: first,
      operation_id: body.id,
      attempt: 1,
      name: 'log.txt',
      media_type: 'text/plain',
      size: 5,
      sha256: 'a'.repeat(64),
      received: 5,
      state: 'complete',
      created_at: new Date(),
      updated_at: new Date(),
      expires_at: new Date(Date.now() + 1000),
    });
    const path = `/v1/operations/${body.id}/targets`;
    const all = await ops.get(path);
    expect(all.body.items).toMatchObject([
      { board: first, state: 'succeeded', result: 'text', artifacts: [{ name: 'log.txt', size: 5 }] },
      { board: second, state: 'failed', error, artifacts: [] },
      { state: 'queued', result: null, error: null },
    ]);
    const some = await ops.get(`${path}?state=failed,queued`);
    expect(some.body.items.map((each: { board: string }) => each.board)).toEqual(boards.slice(1));
    const page = await ops.get(`${path}?limit=2`);
    expect(page.body.items).toHaveLength(2);
    const rest = await ops.get(`${path}?limit=2&after=${encodeURIComponent(page.body.next)}`);
    expect(rest.body.items).toEqual(all.body.items.slice(2));
    expect(rest.body.next).toBeUndefined();
    expect((await ops.get(`/v1/operations/${body.id}`)).body.counts).toEqual({
      queued: 1,
      succeeded: 1,
      failed: 1,
    });
  });

  it('with large results come on more pages, and none is left out', async () => {
    const boards = (await Promise.all(Array.from({ length: 12 }, () => ops.board()))).sort();
    const { body } = await ops.create({ target: { boards } });
    expect(body.targets).toEqual([]);
    await ops.targets(body.id, {
      state: 'succeeded',
      queue: null,
      result: JSON.stringify('x'.repeat(1_000_000)),
    });
    const seen: string[] = [];
    let after = '';
    do {
      const page = await ops.get(`/v1/operations/${body.id}/targets?limit=100${after}`);
      expect(page.text.length).toBeLessThan(5_000_000);
      seen.push(...page.body.items.map((each: { board: string }) => each.board));
      after = page.body.next ? `&after=${encodeURIComponent(page.body.next)}` : '';
    } while (after);
    expect(seen).toEqual(boards);
  });
});

describe('ten thousand boards', () => {
  it('are planned within two seconds, and their operation is made with its targets left to a conductor', async () => {
    const tenant = await ops.api.rows.tenant();
    const { token } = await ops.api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } });
    const now = new Date();
    const boards = Array.from({ length: 10_000 }, (_, index) => [
      randomUUID(),
      tenant,
      `gw-${String(index).padStart(5, '0')}`,
      index % 2 === 0 ? 'online' : 'offline',
      `hash-${index % 20}`,
      now,
      now,
    ]);
    for (let from = 0; from < boards.length; from += 2000) {
      const part = boards.slice(from, from + 2000);
      await ops.api.connection.query(
        'INSERT INTO boards (uuid, tenant_id, name, status, contracts_hash, created_at, updated_at) VALUES ?',
        [part],
      );
      await ops.api.connection.query(
        'INSERT INTO procedure_contracts (board_uuid, name, contract) VALUES ?',
        [part.map(([uuid]) => [uuid, 'reboot', '{"name":"reboot","safety":"journaled"}'])],
      );
      await ops.api.connection.query(
        'INSERT INTO board_labels (board_uuid, tenant_id, label_key, label_value) VALUES ?',
        [part.map(([uuid]) => [uuid, tenant, 'site', 'lyon'])],
      );
    }
    const body = {
      procedure: 'reboot',
      target: { selector: 'site=lyon' },
      delivery: 'rollout',
      rollout: { waves: [{ count: 10 }, { percent: 1 }, { percent: 100 }], rate: { perMinute: 600 } },
    };
    const startedAt = performance.now();
    const plan = await ops.post('/v1/operations/plan', body, { token });
    expect(performance.now() - startedAt).toBeLessThan(2000);
    expect(plan.body).toMatchObject({
      count: 10_000,
      online: 5000,
      waves: [10, 100, 9890],
      expectedSeconds: 1000,
    });
    expect(plan.body.targets).toHaveLength(100);
    const made = await ops.post('/v1/operations', { ...body, plan: plan.body.hash }, { token });
    expect(made.body).toMatchObject({
      state: 'preparing',
      targetCount: 10_000,
      counts: { queued: 10_000 },
      targets: [],
    });
    const [row] = await ops.rows('SELECT pending_boards AS boards FROM operations WHERE id = ?', [
      made.body.id,
    ]);
    const pending = typeof row?.boards === 'string' ? JSON.parse(row.boards) : row?.boards;
    expect(pending.slice(0, 3)).toEqual(boards.slice(0, 3).map(([uuid]) => uuid));
    const path = `/v1/operations/${made.body.id}`;
    const timeline = await ops.api.request(`${path}/timeline`, { token });
    expect(timeline.body.waiting[0].text).toBe('its targets are being written: 0 of 10000 so far');
  }, 60_000);
});
