import { randomUUID } from 'node:crypto';
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashEnrolmentCode } from '../../../common/runtime/enrolment-code.ts';
import { startTestApi, type TestApi } from '../../harness/api.ts';
import { until } from '../../harness/until.ts';

let api: TestApi;
let tenant: string;
let token: string;
beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant('boards');
  token = (await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } })).token;
});
afterAll(async () => api?.stop());

const get = (path: string, as = token) => api.request(path, { token: as });
const change = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  api.request(path, { method, token, headers, ...(body !== undefined && { body }) });
const query = async (sql: string, values: unknown[]) =>
  (await api.connection.query<RowDataPacket[]>(sql, values))[0];

async function liveSession(board: string): Promise<string> {
  const id = randomUUID();
  await api.rows.insert('board_sessions', {
    id,
    board_uuid: board,
    live: 1,
    cell: 'default',
    agent_id: randomUUID(),
    wamp_session: 42,
    boot_id: 'boot',
    agent_version: '1.0',
    started_at: new Date('2026-01-01T00:00:00Z'),
  });
  await api.connection.query("UPDATE boards SET status = 'online' WHERE uuid = ?", [board]);
  return id;
}

describe('a board', () => {
  it('is created with its code, in the shape that clients rely on', async () => {
    const answer = await change('POST', '/v1/boards', {
      name: 'gw-éclair',
      type: 'gateway',
      labels: { site: 'lyon' },
      location: { latitude: 45.76, longitude: 4.83, altitude: 170 },
      mobile: true,
      extra: { rack: { row: 3 } },
    });
    expect(answer.status).toBe(201);
    const { enrolmentCode, ...board } = answer.body;
    expect(board).toEqual({
      uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: 'gw-éclair',
      tenant,
      type: 'gateway',
      status: 'registered',
      labels: { site: 'lyon' },
      location: { latitude: 45.76, longitude: 4.83, altitude: 170 },
      mobile: true,
      agentVersion: null,
      connectivity: null,
      presence: { session: null, lastHeartbeatAt: null, lastRpcAt: null },
      lastSeenAt: null,
      createdAt: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
      updatedAt: expect.any(String),
      version: 1,
      extra: { rack: { row: 3 } },
    });
    expect(answer.headers.get('location')).toBe(`/v1/boards/${board.uuid}`);
    expect(Date.parse(enrolmentCode.expiresAt) - Date.now()).toBeGreaterThan(23.9 * 3_600_000);
    const codes = await query('SELECT code_hash FROM enrolment_codes WHERE board_uuid = ?', [board.uuid]);
    expect(codes).toEqual([{ code_hash: hashEnrolmentCode(enrolmentCode.code.toUpperCase()) }]);
    expect((await get(`/v1/boards/${encodeURIComponent('gw-éclair')}`)).body).toEqual(board);
    expect((await get(`/v1/boards/${board.uuid}`)).headers.get('etag')).toBe('"1"');
  });

  it('shows its live session and history', async () => {
    const uuid = await api.rows.board(tenant, { name: 'with-session' });
    const id = await liveSession(uuid);
    await api.rows.insert('board_sessions', {
      id: randomUUID(),
      board_uuid: uuid,
      live: null,
      cell: 'default',
      agent_id: randomUUID(),
      wamp_session: 41,
      boot_id: 'boot',
      agent_version: '0.9',
      started_at: new Date('2025-12-01T00:00:00Z'),
      ended_at: new Date('2025-12-02T00:00:00Z'),
      end_reason: 'left',
    });
    const { body } = await get(`/v1/boards/${uuid}`);
    expect(body.presence.session).toEqual({ id, since: '2026-01-01T00:00:00.000Z' });
    expect(body.status).toBe('online');
    const first = await get(`/v1/boards/${uuid}/sessions?limit=1`);
    expect(first.body.items).toMatchObject([{ id, live: true, endReason: null }]);
    const second = await get(`/v1/boards/${uuid}/sessions?limit=1&after=${first.body.next}`);
    expect(second.body).toMatchObject({ items: [{ live: false, endReason: 'left', agentVersion: '0.9' }] });
    expect(second.body.next).toBeUndefined();
  });

  it('changes by its version only; what is left out stays', async () => {
    const uuid = await api.rows.board(
      tenant,
      { name: 'versioned', type: 'a', latitude: 1, longitude: 2 },
      { a: 'b' },
    );
    const path = `/v1/boards/${uuid}`;
    const first = await change('PATCH', path, { type: 'b', version: 1 });
    expect(first.body).toMatchObject({
      type: 'b',
      version: 2,
      labels: { a: 'b' },
      location: { latitude: 1 },
    });
    const before = await api.checksums();
    const stale = await change('PATCH', path, { type: 'c', version: 1 });
    expect([stale.status, stale.body.code, stale.body.version]).toEqual([412, 'stale-version', 2]);
    expect((await change('PATCH', path, { type: 'c' }, { 'if-match': '"1"' })).status).toBe(412);
    expect(await api.checksums()).toEqual(before);
    const second = await change('PATCH', path, { labels: { c: 'd' }, location: null }, { 'if-match': '"2"' });
    expect(second.body).toMatchObject({ version: 3, labels: { c: 'd' }, location: null });
    expect(second.headers.get('etag')).toBe('"3"');
  });

  it('keeps one of two changes that come at the same time', async () => {
    const uuid = await api.rows.board(tenant, { name: 'contended' });
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        change('PATCH', `/v1/boards/${uuid}`, { type: `t${index}`, version: 1 }),
      ),
    );
    expect(answers.map((each) => each.status).sort()).toEqual([200, 412, 412, 412, 412, 412]);
  });

  it('gets a new code, and the unused older ones stop working', async () => {
    const { body } = await change('POST', '/v1/boards', { name: 'recoded' });
    const answer = await change('POST', `/v1/boards/${body.uuid}/enrolment-code`);
    expect(answer.status).toBe(201);
    const codes = await query(
      'SELECT code_hash, revoked_at IS NOT NULL AS revoked FROM enrolment_codes WHERE board_uuid = ? ORDER BY revoked',
      [body.uuid],
    );
    expect(codes.map((row) => [row.code_hash, Number(row.revoked)])).toEqual([
      [hashEnrolmentCode(answer.body.code), 0],
      [hashEnrolmentCode(body.enrolmentCode.code), 1],
    ]);
  });

  it('is revoked with its key, codes and session, and reinstated for a new enrolment', async () => {
    const { body } = await change('POST', '/v1/boards', { name: 'revoked' });
    const { uuid } = body;
    const session = await liveSession(uuid);
    await api.rows.insert('board_credentials', {
      id: randomUUID(),
      board_uuid: uuid,
      public_key: 'a'.repeat(64),
      state: 'active',
      created_at: new Date(),
    });
    const answer = await change('POST', `/v1/boards/${uuid}/revoke`);
    expect(answer.body).toMatchObject({ status: 'revoked', version: 2, presence: { session: null } });
    expect(await query('SELECT state FROM board_credentials WHERE board_uuid = ?', [uuid])).toEqual([
      { state: 'revoked' },
    ]);
    expect(await query('SELECT live, end_reason FROM board_sessions WHERE id = ?', [session])).toEqual([
      { live: null, end_reason: 'revoked' },
    ]);
    expect(
      await query('SELECT 1 FROM enrolment_codes WHERE board_uuid = ? AND revoked_at IS NULL', [uuid]),
    ).toEqual([]);
    const events = await query('SELECT payload FROM events WHERE board_uuid = ?', [uuid]);
    expect(events).toHaveLength(1);
    expect(JSON.stringify(events[0]?.payload)).toContain('revoked');
    const again = await change('POST', `/v1/boards/${uuid}/revoke`);
    expect(again.body.version).toBe(2);
    expect((await change('POST', `/v1/boards/${uuid}/enrolment-code`)).status).toBe(409);
    expect((await change('POST', `/v1/boards/${uuid}/reinstate`)).body.status).toBe('registered');
    expect((await change('POST', `/v1/boards/${uuid}/reinstate`)).status).toBe(409);
    expect((await change('POST', `/v1/boards/${uuid}/enrolment-code`)).status).toBe(201);
  });

  it('is deleted at once, with a note that its readings are to be cleared', async () => {
    const { body } = await change('POST', '/v1/boards', { name: 'deleted', labels: { a: 'b' } });
    await liveSession(body.uuid);
    expect((await change('DELETE', '/v1/boards/deleted')).status).toBe(204);
    expect((await get(`/v1/boards/${body.uuid}`)).body.code).toBe('board-not-found');
    for (const table of ['board_labels', 'enrolment_codes'])
      expect(await query('SELECT 1 FROM ?? WHERE board_uuid = ?', [table, body.uuid])).toEqual([]);
    expect(
      await query('SELECT 1 FROM board_sessions WHERE board_uuid = ? AND live = 1', [body.uuid]),
    ).toEqual([]);
    expect(await query('SELECT tenant_id FROM deleted_boards WHERE board_uuid = ?', [body.uuid])).toEqual([
      { tenant_id: tenant },
    ]);
    expect((await change('POST', '/v1/boards', { name: 'deleted' })).status).toBe(201);
  });

  it('whose name several tenants of the caller have needs the tenant, or its uuid', async () => {
    const other = await api.rows.tenant('boards-2');
    const both = await api.rows.user({ memberships: { [tenant]: 'user_iot', [other]: 'user_iot' } });
    const admin = await api.rows.user({ isAdmin: true });
    const uuid = await api.rows.board(tenant, { name: 'twin' });
    await api.rows.board(other, { name: 'twin' });
    for (const caller of [both.token, admin.token]) {
      expect((await get('/v1/boards/twin', caller)).body.code).toBe('conflict');
      expect((await get('/v1/boards/twin?tenant=boards', caller)).body.uuid).toBe(uuid);
      expect((await get(`/v1/boards/${uuid}`, caller)).body.uuid).toBe(uuid);
    }
    expect((await get('/v1/boards/twin')).body.uuid).toBe(uuid);
  });

  it('goes to the only tenant where its creator may create, or needs one named', async () => {
    const other = await api.rows.tenant();
    const mixed = await api.rows.user({
      memberships: { [tenant]: 'admin_iot_project', [other]: 'user_iot' },
    });
    const both = await api.rows.user({
      memberships: { [tenant]: 'admin_iot_project', [other]: 'admin_iot_project' },
    });
    const create = (as: string, body: object) => api.request('/v1/boards', { token: as, body });
    expect((await create(mixed.token, { name: 'only-one' })).body.tenant).toBe(tenant);
    expect((await create(mixed.token, { name: 'not-there', tenant: other })).body.code).toBe('forbidden');
    const refused = await create(both.token, { name: 'which' });
    expect([refused.status, refused.body.errors]).toEqual([
      400,
      [{ pointer: '/tenant', detail: 'is required' }],
    ]);
    expect((await create(both.token, { name: 'which', tenant: other })).body.tenant).toBe(other);
  });
});

describe('a list of boards', () => {
  let listed: string;
  let reader: string;
  const names = (body: { items: { name: string }[] }) => body.items.map((each) => each.name);

  beforeAll(async () => {
    listed = await api.rows.tenant('listed');
    reader = (await api.rows.user({ memberships: { [listed]: 'user_iot' } })).token;
    const seen = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute));
    const boards: [string, Record<string, unknown>, Record<string, string>][] = [
      ['a-1', { status: 'online', type: 'gw', last_seen_at: seen(3) }, { site: 'lyon', role: 'gw' }],
      [
        'a-2',
        { status: 'offline', type: 'gw', last_seen_at: seen(1) },
        { site: 'lyon', role: 'hub', retired: '' },
      ],
      ['a_3', { status: 'registered', type: 'hub' }, { site: 'paris', note: 'a, (b) "c"' }],
      ['b%1', { status: 'registered', type: 'hub' }, {}],
      ['B-2', { status: 'revoked', type: 'gw', last_seen_at: seen(2) }, { role: 'gw' }],
    ];
    for (const [index, [name, columns, labels]] of boards.entries())
      await api.rows.board(listed, { name, created_at: seen(index), ...columns }, labels);
  });

  it.each([
    // Names sort as the database's collation has it: without case, punctuation first.
    ['', ['a_3', 'a-1', 'a-2', 'B-2', 'b%1']],
    ['status=online,revoked', ['a-1', 'B-2']],
    ['type=hub', ['a_3', 'b%1']],
    ['namePrefix=a', ['a_3', 'a-1', 'a-2']],
    ['namePrefix=a_', ['a_3']],
    ['namePrefix=b%25', ['b%1']],
    ['namePrefix=B', ['B-2', 'b%1']],
    ['labels=site%3Dlyon', ['a-1', 'a-2']],
    ['labels=site%3D%3Dlyon', ['a-1', 'a-2']],
    ['labels=site!%3Dlyon', ['a_3', 'B-2', 'b%1']],
    ['labels=role in (gw,hub)', ['a-1', 'a-2', 'B-2']],
    ['labels=role notin (gw)', ['a_3', 'a-2', 'b%1']],
    ['labels=site%3Dlyon,role in (gw,hub),!retired', ['a-1']],
    ['labels=retired', ['a-2']],
    ['labels=note%3D"a, (b) \\"c\\""', ['a_3']],
    ['sort=-name', ['b%1', 'B-2', 'a-2', 'a-1', 'a_3']],
    ['sort=createdAt', ['a-1', 'a-2', 'a_3', 'b%1', 'B-2']],
    ['sort=-createdAt', ['B-2', 'b%1', 'a_3', 'a-2', 'a-1']],
  ])('%s', async (filter, expected) => {
    const all = await get(`/v1/boards?${filter}`, reader);
    expect(names(all.body)).toEqual(expected);
    const counts = await get(`/v1/boards/counts?${filter.startsWith('sort') ? '' : filter}`, reader);
    expect(counts.body.total).toBe(expected.length);
  });

  it.each(['name', '-name', 'createdAt', '-createdAt', 'lastSeenAt', '-lastSeenAt'])(
    'by %s is the same page by page, each board once',
    async (sort) => {
      const all = await get(`/v1/boards?sort=${sort}`, reader);
      const paged: string[] = [];
      let next = '';
      do {
        const page = await get(
          `/v1/boards?sort=${sort}&limit=2${next === '' ? '' : `&after=${next}`}`,
          reader,
        );
        paged.push(...names(page.body));
        next = page.body.next ?? '';
      } while (next !== '');
      expect(paged).toEqual(names(all.body));
      expect(new Set(paged).size).toBe(5);
    },
  );

  it('by -lastSeenAt has those that were never seen last', async () => {
    const { body } = await get('/v1/boards?sort=-lastSeenAt', reader);
    expect(names(body).slice(0, 3)).toEqual(['a-1', 'B-2', 'a-2']);
  });

  it('shows a key only the boards of its scope, in lists, counts, maps and by name', async () => {
    const inside = await api.rows.board(listed, { name: 'inside', latitude: 1.123456789, longitude: -2 });
    const scoped = await api.rows.key(listed, { boards: [inside] });
    expect(names((await get('/v1/boards', scoped.token)).body)).toEqual(['inside']);
    expect((await get('/v1/boards/counts', scoped.token)).body.total).toBe(1);
    const positions = await get('/v1/boards/positions', scoped.token);
    expect(positions.body.items).toEqual([[inside, 'inside', 0, 1.12346, -2]]);
    expect((await get('/v1/boards/a-1', scoped.token)).body.code).toBe('board-not-found');
    expect((await get('/v1/boards/inside', scoped.token)).status).toBe(200);
    expect((await get('/v1/me', scoped.token)).body).toMatchObject({ boards: [inside], procedures: null });
    await api.connection.query('DELETE FROM boards WHERE uuid = ?', [inside]);
  });
});

describe('positions', () => {
  it('of 10,000 boards stay below 1 MB', async () => {
    const fleet = await api.rows.tenant('fleet');
    const reader = await api.rows.key(fleet, { role: 'user_iot' });
    const now = new Date();
    const rows = Array.from({ length: 10_000 }, (_, index) => [
      randomUUID(),
      fleet,
      `gateway-of-the-fleet-${String(index).padStart(5, '0')}`,
      'registered',
      -45.123456 - index / 1e6,
      -123.123456 - index / 1e6,
      now,
      now,
    ]);
    for (let start = 0; start < rows.length; start += 2_500)
      await api.connection.query(
        'INSERT INTO boards (uuid, tenant_id, name, status, latitude, longitude, created_at, updated_at) VALUES ?',
        [rows.slice(start, start + 2_500)],
      );
    const answer = await get('/v1/boards/positions', reader.token);
    expect(answer.body.items).toHaveLength(10_000);
    expect(answer.body.truncated).toBe(false);
    expect(Buffer.byteLength(answer.text)).toBeLessThan(1_000_000);
  });
});

describe('procedures', () => {
  it('are the contracts that the board published, by name', async () => {
    const uuid = await api.rows.board(tenant, { name: 'with-procedures' });
    const contracts = [
      { name: 'ping', safety: 'idempotent' },
      { name: 'gpio.write', safety: 'journaled', kwargs: { type: 'object' } },
    ];
    for (const contract of contracts)
      await api.rows.insert('procedure_contracts', {
        board_uuid: uuid,
        name: contract.name,
        contract: JSON.stringify(contract),
      });
    const { body } = await get('/v1/boards/with-procedures/procedures');
    expect(body).toEqual({ items: [contracts[1], contracts[0]] });
  });
});

describe('a change that waits for another', () => {
  /** Runs `request` while another transaction holds the board, which does `first` and commits. */
  async function behind<T>(
    board: string,
    first: () => Promise<unknown>,
    request: () => Promise<T>,
  ): Promise<T> {
    await api.connection.beginTransaction();
    await api.connection.query('SELECT 1 FROM boards WHERE uuid = ? FOR UPDATE', [board]);
    const answer = request();
    await until('the request waits', async () => {
      const statements = await query('SHOW PROCESSLIST', []);
      return statements.some(({ Info }) => String(Info).includes('FROM boards WHERE uuid = '));
    });
    await first();
    await api.connection.commit();
    return answer;
  }

  it.each([
    ['revoked', 'POST', '/revoke'],
    ['deleted', 'DELETE', ''],
  ])('ends the session of a board that came while it was %s', async (_what, method, path) => {
    const board = await api.rows.board(tenant);
    const answer = await behind(
      board,
      () => liveSession(board),
      () => change(method, `/v1/boards/${board}${path}`),
    );
    expect(answer.status).toBeLessThan(300);
    const live = await query('SELECT 1 FROM board_sessions WHERE board_uuid = ? AND live = 1', [board]);
    expect(live).toEqual([]);
  });

  it('answers with what the other changed too', async () => {
    const board = await api.rows.board(tenant, {}, { site: 'old' });
    const answer = await behind(
      board,
      () => api.connection.query("UPDATE board_labels SET label_value = 'new' WHERE board_uuid = ?", [board]),
      () => change('PATCH', `/v1/boards/${board}`, { type: 'gateway' }),
    );
    expect(answer.body).toMatchObject({ type: 'gateway', labels: { site: 'new' } });
  });
});
