/** Modules over HTTP: who waits at the door, who is let in, and by whom. */
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';
import { until } from '../../harness/until.ts';

let api: TestApi;
let tenant: string;
let board: string;
let manager: { id: string; token: string };
let reader: string;
const tokens = { admin: '' };

beforeAll(async () => {
  api = await startTestApi();
  tokens.admin = (await api.rows.user({ isAdmin: true })).token;
});
afterAll(async () => api?.stop());

beforeEach(async () => {
  tenant = await api.rows.tenant();
  board = await api.rows.board(tenant);
  manager = await api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } });
  reader = (await api.rows.user({ memberships: { [tenant]: 'user_iot' } })).token;
});

const at = new Date('2026-11-01T00:00:00.000Z');

const addModule = (name: string, columns: Record<string, unknown> = {}) =>
  api.rows.insert('modules', {
    board_uuid: board,
    tenant_id: tenant,
    name,
    origin: 'discovered',
    state: 'quarantined',
    created_at: at,
    updated_at: at,
    ...columns,
  });

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  api.request(path, { method, token: manager.token, headers, ...(body !== undefined && { body }) });
const modules = () => `/v1/boards/${board}/modules`;

async function eventsOf(): Promise<string[]> {
  const [rows] = await api.connection.query<RowDataPacket[]>(
    "SELECT payload FROM events WHERE board_uuid = ? AND type = 'module' ORDER BY id",
    [board],
  );
  return rows.map(({ payload }) => `${payload.module} ${payload.change} ${payload.state}`);
}

async function versionOfBoard(): Promise<string | null> {
  const [[row]] = await api.connection.query<RowDataPacket[]>(
    'SELECT modules_version AS v FROM boards WHERE uuid = ?',
    [board],
  );
  return row?.v as string | null;
}

describe('a module', () => {
  it('shows what its board counted, how many streams it has and how the board treats it', async () => {
    await addModule('n1', {
      source: 'field',
      board_state: 'quarantined',
      received: 10,
      duplicate: 2,
      missed: 3,
      late: 1,
      restarted: 4,
      bad_mac: 5,
      refused: 6,
      last_seq: 99,
      counted_since: at,
      first_seen_at: at,
      last_seen_at: at,
      reported_at: at,
    });
    for (const name of ['n1/temp', 'n1/hum', 'n10/temp'])
      await api.rows.insert('streams', { board_uuid: board, name, type: 'number', created_at: at });
    const { status, body, headers } = await send('GET', `${modules()}/n1`);
    expect(status).toBe(200);
    expect(headers.get('etag')).toBe('"1"');
    expect(body).toMatchObject({
      board,
      tenant,
      name: 'n1',
      origin: 'discovered',
      state: 'quarantined',
      boardState: 'quarantined',
      source: 'field',
      streams: 2,
      sequence: {
        received: 10,
        duplicate: 2,
        missed: 3,
        late: 1,
        restarted: 4,
        badMac: 5,
        refused: 6,
        lastSeq: 99,
        countedSince: at.toISOString(),
        resets: 0,
      },
      firstSeenAt: at.toISOString(),
      lastSeenAt: at.toISOString(),
      reportedAt: at.toISOString(),
      decidedBy: null,
    });
  });

  it('is let in by a manager: event, audit row, and all decisions for the board anew', async () => {
    await addModule('n1');
    const before = await versionOfBoard();
    const { status, body } = await send('PATCH', `${modules()}/n1`, {
      state: 'accepted',
      kind: 'hv',
      description: 'HV',
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      state: 'accepted',
      kind: 'hv',
      description: 'HV',
      version: 2,
      decidedBy: `user:${manager.id}`,
      decidedAt: expect.any(String),
    });
    expect(await versionOfBoard()).not.toBe(before);
    expect(await eventsOf()).toEqual(['n1 accepted accepted']);
    const [audits] = await api.connection.query<RowDataPacket[]>(
      "SELECT * FROM audit_events WHERE action = 'updateModule' AND target = ?",
      [`${board}/n1`],
    );
    expect(audits).toMatchObject([
      {
        tenant_id: tenant,
        actor_kind: 'user',
        target_kind: 'module',
        detail: { state: 'accepted', before: 'quarantined' },
      },
    ]);
  });

  it('is described without a new decision for the board', async () => {
    await addModule('n1');
    const before = await versionOfBoard();
    expect((await send('PATCH', `${modules()}/n1`, { kind: 'hv' })).body.decidedBy).toBeNull();
    expect(await versionOfBoard()).toBe(before);
    expect(await eventsOf()).toEqual([]);
  });

  it('is not changed by who has read an older version', async () => {
    await addModule('n1');
    await send('PATCH', `${modules()}/n1`, { state: 'accepted', version: 1 });
    for (const answer of [
      await send('PATCH', `${modules()}/n1`, { state: 'rejected', version: 1 }),
      await send('PATCH', `${modules()}/n1`, { state: 'rejected' }, { 'if-match': '"1"' }),
    ])
      expect(answer).toMatchObject({ status: 412, body: { code: 'stale-version' } });
    expect((await send('GET', `${modules()}/n1`)).body.state).toBe('accepted');
  });

  it('is read by readers, and decided about by managers only', async () => {
    await addModule('n1');
    expect((await api.request(modules(), { token: reader })).body.items).toHaveLength(1);
    for (const [method, path, body] of [
      ['POST', modules(), { name: 'n2' }],
      ['PATCH', `${modules()}/n1`, { state: 'accepted' }],
      ['DELETE', `${modules()}/n1`, undefined],
    ] as const) {
      const answer = await api.request(path, { method, token: reader, ...(body && { body }) });
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
  });

  it('is created ahead, accepted when nothing else is said, once for each key and name', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const made = await send('POST', modules(), { name: 'n1', kind: 'hv' }, headers);
    expect(made).toMatchObject({
      status: 201,
      body: { origin: 'created', state: 'accepted', kind: 'hv', boardState: null },
    });
    expect(made.headers.get('location')).toBe(`/v1/boards/${board}/modules/n1`);
    expect((await send('POST', modules(), { name: 'n1', kind: 'hv' }, headers)).body).toEqual(made.body);
    expect(await send('POST', modules(), { name: 'n1' })).toMatchObject({
      status: 409,
      body: { code: 'name-taken' },
    });
    expect((await send('POST', modules(), { name: 'n2', state: 'rejected' })).body.state).toBe('rejected');
    expect(await eventsOf()).toEqual(['n1 created accepted', 'n2 created rejected']);
  });

  it('is refused when the board has a thousand of them', async () => {
    const rows = Array.from({ length: 1000 }, (_, index) => [
      board,
      tenant,
      `n${index}`,
      'discovered',
      'quarantined',
      at,
      at,
    ]);
    await api.connection.query(
      'INSERT INTO modules (board_uuid, tenant_id, name, origin, state, created_at, updated_at) VALUES ?',
      [rows],
    );
    expect(await send('POST', modules(), { name: 'one-too-many' })).toMatchObject({
      status: 403,
      body: { code: 'quota-exceeded', limit: 1000, used: 1000 },
    });
    expect((await send('DELETE', `${modules()}/n7`)).status).toBe(204);
    expect((await send('POST', modules(), { name: 'one-too-many' })).status).toBe(201);
  });

  it('is forgotten, unless its board declares it', async () => {
    await addModule('n1');
    await addModule('system', { origin: 'declared', state: 'accepted' });
    expect((await send('DELETE', `${modules()}/n1`)).status).toBe(204);
    expect((await send('GET', `${modules()}/n1`)).status).toBe(404);
    expect(await eventsOf()).toEqual(['n1 forgotten quarantined']);
    expect(await send('DELETE', `${modules()}/system`)).toMatchObject({
      status: 409,
      body: { code: 'conflict' },
    });
    expect(await send('PATCH', `${modules()}/system`, { description: 'x' })).toMatchObject({ status: 409 });
    expect((await send('PATCH', `${modules()}/system`, { kind: 'host' })).body.kind).toBe('host');
  });

  it.each([
    ['no name', {}, '/name'],
    ['a name with a slash', { name: 'a/b' }, '/name'],
    ['a name that begins with a dot', { name: '.a' }, '/name'],
    ['a name that is too long', { name: 'x'.repeat(61) }, '/name'],
    ['a name beyond ascii', { name: 'é' }, '/name'],
    ['an unknown state', { name: 'a', state: 'maybe' }, '/state'],
    ['a kind with a space', { name: 'a', kind: 'a b' }, '/kind'],
    ['a description that is too long', { name: 'a', description: 'x'.repeat(501) }, '/description'],
    ['a line feed in the description', { name: 'a', description: 'a\nb' }, '/description'],
    ['an origin', { name: 'a', origin: 'declared' }, '/origin'],
    ['counts', { name: 'a', sequence: {} }, '/sequence'],
  ])('is refused with %s', async (_what, body, pointer) => {
    const answer = await send('POST', modules(), body);
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid-request' } });
    expect(answer.body.errors.map((each: { pointer: string }) => each.pointer)).toContain(pointer);
  });

  it.each([
    '?state=maybe',
    '?origin=maybe',
    '?limit=0',
    '?after=x',
    `?after=${Buffer.from('["name",1]').toString('base64url')}`,
    '?colour=red',
  ])('is not listed by %s', async (query) => {
    expect((await send('GET', modules() + query)).status).toBe(400);
  });

  it.each(['missing', 'é', 'a b', '%2e%2e'])('%s is none', async (name) => {
    expect((await send('GET', `${modules()}/${encodeURIComponent(decodeURIComponent(name))}x`)).status).toBe(
      404,
    );
  });
});

describe('a quarantine', () => {
  const decided = { decided_by: 'user:x', decided_at: at };

  it('says how many of its places are taken: by whom nobody has decided about', async () => {
    for (const name of ['a', 'b', 'c']) await addModule(name);
    await addModule('kept', decided);
    await addModule('expected', { origin: 'created' });
    await addModule('good', { state: 'accepted' });
    const { body } = await send('GET', `${modules()}?limit=1`);
    expect(body.quarantine).toEqual({ used: 3, limit: 100 });
  });

  it('is cleared at once: events, one audit row, and the decisions for the board anew', async () => {
    for (const name of ['a', 'b']) await addModule(name);
    await addModule('kept', decided);
    await addModule('good', { state: 'accepted' });
    await addModule('system', { origin: 'declared' });
    const before = await versionOfBoard();
    expect(await send('DELETE', `${modules()}?state=quarantined`)).toMatchObject({
      status: 200,
      body: { forgotten: 2 },
    });
    const { items, quarantine } = (await send('GET', modules())).body;
    expect(items.map((each: { name: string }) => each.name)).toEqual(['good', 'kept', 'system']);
    expect(quarantine).toEqual({ used: 0, limit: 100 });
    expect(await eventsOf()).toEqual(['a forgotten quarantined', 'b forgotten quarantined']);
    const after = await versionOfBoard();
    expect(after).not.toBe(before);
    const [audits] = await api.connection.query<RowDataPacket[]>(
      "SELECT * FROM audit_events WHERE action = 'clearQuarantine' AND target = ?",
      [board],
    );
    expect(audits).toMatchObject([{ tenant_id: tenant, detail: { forgotten: 2, modules: ['a', 'b'] } }]);
    // Nothing is left to forget, and nothing to tell the board.
    expect((await send('DELETE', `${modules()}?state=quarantined`)).body).toEqual({ forgotten: 0 });
    expect(await versionOfBoard()).toBe(after);
  });

  it.each(['', '?state=accepted', '?state=rejected', '?state=quarantined&x=1'])(
    'is not cleared by DELETE%s',
    async (query) => {
      await addModule('a');
      expect((await send('DELETE', modules() + query)).status).toBe(400);
      expect((await send('GET', modules())).body.items).toHaveLength(1);
    },
  );

  it('is not cleared by readers', async () => {
    await addModule('a');
    const answer = await api.request(`${modules()}?state=quarantined`, { method: 'DELETE', token: reader });
    expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
  });
});

describe('lists of modules', () => {
  it('go page by page, by state and by origin', async () => {
    for (const name of ['c', 'a', 'b']) await addModule(name);
    await addModule('d', { state: 'accepted', origin: 'declared' });
    const names = async (query: string) =>
      (await send('GET', modules() + query)).body.items.map((each: { name: string }) => each.name);
    expect(await names('')).toEqual(['a', 'b', 'c', 'd']);
    expect(await names('?state=quarantined')).toEqual(['a', 'b', 'c']);
    expect(await names('?origin=declared&state=accepted')).toEqual(['d']);
    const first = (await send('GET', `${modules()}?limit=3`)).body;
    expect(first.items).toHaveLength(3);
    expect(await names(`?limit=3&after=${first.next}`)).toEqual(['d']);
  });

  it('show over all boards who waits at the door', async () => {
    const boards = [board, await api.rows.board(tenant), await api.rows.board(tenant)].sort();
    for (const each of boards) {
      await addModule('n1', { board_uuid: each });
      await addModule('n2', { board_uuid: each, state: 'accepted' });
    }
    const path = `/v1/tenants/${tenant}/modules`;
    const seen: string[] = [];
    for (let after = ''; ; ) {
      const { body } = await send('GET', `${path}?state=quarantined&limit=2${after}`);
      seen.push(...body.items.map((each: { board: string; name: string }) => `${each.board} ${each.name}`));
      if (body.next === undefined) break;
      after = `&after=${body.next}`;
    }
    expect(seen).toEqual(boards.map((each) => `${each} n1`));
    expect((await send('GET', path)).body.items).toHaveLength(6);
  });

  it('show sources with their balance', async () => {
    const source = {
      board_uuid: board,
      kind: 'coap',
      received: 10,
      stored: 6,
      duplicate: 2,
      rejected: 1,
      reported_at: at,
    };
    await api.rows.insert('board_sources', { ...source, name: 'good', waiting: 1 });
    await api.rows.insert('board_sources', { ...source, name: 'leaky', waiting: 0, fault: 'port in use' });
    expect((await send('GET', `/v1/boards/${board}/sources`)).body.items).toMatchObject([
      {
        name: 'good',
        received: 10,
        stored: 6,
        duplicate: 2,
        rejected: 1,
        waiting: 1,
        balanced: true,
        fault: null,
      },
      { name: 'leaky', balanced: false, fault: 'port in use', reportedAt: at.toISOString() },
    ]);
  });
});

describe('the policy of a tenant', () => {
  it('is quarantine until it is changed by an owner', async () => {
    const path = `/v1/tenants/${tenant}`;
    expect((await send('GET', path)).body).toMatchObject({
      unknownDevices: 'quarantine',
      devicesPerMinute: 60,
    });
    const change = (body: object, token = tokens.admin) =>
      api.request(path, { method: 'PATCH', token, body });
    expect((await change({ unknownDevices: 'create' }, manager.token)).status).toBe(403);
    expect((await change({ unknownDevices: 'create', devicesPerMinute: 0 })).body).toMatchObject({
      unknownDevices: 'create',
      devicesPerMinute: 0,
    });
    for (const bad of [{ unknownDevices: 'maybe' }, { devicesPerMinute: -1 }, { devicesPerMinute: 10_001 }])
      expect((await change(bad)).status).toBe(400);
  });
});

describe('a board that is online', () => {
  let relay: Server;
  let asked: { boardUuid: string; procedure: string; caller: object; kwargs: object }[];
  /** Whether the relay ever answers. */
  let answers: boolean;

  beforeAll(async () => {
    relay = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk) => {
        text += chunk;
      });
      request.on('end', () => {
        asked.push(JSON.parse(text));
        if (answers) response.end('{"result":{"reported":1},"durationMs":1}');
      });
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    await api.connection.query(
      `INSERT INTO wamp_agents (id, cell, relay_url, router_connected, started_at, heartbeat_at)
       VALUES (?, 'default', ?, 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 1 HOUR)`,
      [randomUUID(), `http://127.0.0.1:${(relay.address() as AddressInfo).port}`],
    );
    return () => {
      relay.closeAllConnections();
      relay.close();
    };
  });
  beforeEach(() => {
    asked = [];
    answers = true;
  });

  async function join(uuid: string): Promise<void> {
    await api.rows.insert('board_sessions', {
      id: randomUUID(),
      board_uuid: uuid,
      live: 1,
      cell: 'default',
      agent_id: randomUUID(),
      wamp_session: 1,
      boot_id: 'b',
      agent_version: '1',
      started_at: at,
    });
  }

  it('is asked for its modules after every decision', async () => {
    await join(board);
    await addModule('n1');
    await send('PATCH', `${modules()}/n1`, { state: 'accepted' });
    await until('asked once', () => asked.length === 1);
    await send('POST', modules(), { name: 'n2' });
    await until('asked twice', () => asked.length === 2);
    await send('DELETE', `${modules()}/n2`);
    await until('asked again', () => asked.length === 3);
    expect(asked[0]).toMatchObject({
      boardUuid: board,
      procedure: 'operation.modules',
      kwargs: {},
      caller: { kind: 'process', id: 'api' },
    });
  });

  it('is asked when the policy changes, with the others of its tenant that have sources', async () => {
    const [other, silent] = [await api.rows.board(tenant), await api.rows.board(tenant)];
    for (const each of [board, other, silent]) await join(each);
    for (const each of [board, other])
      await api.rows.insert('board_sources', {
        board_uuid: each,
        name: 'field',
        kind: 'coap',
        received: 0,
        stored: 0,
        duplicate: 0,
        rejected: 0,
        waiting: 0,
        reported_at: at,
      });
    await api.request(`/v1/tenants/${tenant}`, {
      method: 'PATCH',
      token: tokens.admin,
      body: { unknownDevices: 'reject' },
    });
    await until('both are asked', () => asked.length === 2);
    expect(asked.map((each) => each.boardUuid).sort()).toEqual([board, other].sort());
  });

  it('is not waited for', async () => {
    answers = false;
    await join(board);
    await addModule('n1');
    const answer = await send('PATCH', `${modules()}/n1`, { state: 'accepted' });
    expect(answer.status).toBe(200);
    await until('asked', () => asked.length === 1);
  });

  it('changes nothing for the caller when no relay is there', async () => {
    await join(board);
    relay.closeAllConnections();
    relay.close();
    await addModule('n1');
    expect((await send('PATCH', `${modules()}/n1`, { state: 'accepted' })).status).toBe(200);
  });
});
