import type { Connection, RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { TestDatabase } from '../harness/mariadb.ts';
import { until } from '../harness/until.ts';
import { answerJson, type FakeRelay, startFakeRelay } from '../unit/relay/fake-relay.ts';
import { createRows, openTestDatabase, type RunningApi, startApi } from './rpc-support.ts';

describe('calls over HTTP', () => {
  let connection: Connection;
  let db: TestDatabase;
  let close: () => Promise<void>;
  let api: RunningApi;
  let relay: FakeRelay;
  let answer: Parameters<typeof startFakeRelay>[1];
  let rows: ReturnType<typeof createRows>;
  let tenant: string;
  let board: string;
  let session: string;
  let token: string;

  const succeed: typeof answer = (_request, response) =>
    answerJson(response, 200, { result: 'pong', durationMs: 2 });

  beforeAll(async () => {
    const opened = await openTestDatabase();
    ({ db, connection, close } = opened);
    rows = createRows(connection);
    relay = await startFakeRelay('a', (...args) => answer(...args));
    await rows.agent(relay.agent.relayUrl);
    tenant = await rows.tenant('acme');
    board = await rows.board(tenant, 'roof', { contracts_hash: 'c0ffee' });
    session = await rows.session(board);
    ({ token } = await rows.key(tenant));
    api = await startApi(db);
  });
  afterAll(async () => {
    await api.stop();
    await relay.stop();
    await close();
  });
  beforeEach(() => {
    answer = succeed;
    relay.received.length = 0;
  });

  const call = (
    path: string,
    body?: object,
    options: { token?: string; headers?: object; signal?: AbortSignal } = {},
  ) =>
    fetch(`${api.url}/v1/boards/${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${options.token ?? token}`,
        ...(body && { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(body && { body: JSON.stringify(body) }),
      ...(options.signal && { signal: options.signal }),
    });
  const problem = async (response: Response) => ({
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
  });

  it('reach the relay of the board’s cell with everything that it needs', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const body = { args: [1], kwargs: { a: 2 }, timeoutMs: 5000 };
    const response = await call('roof/rpc/gpio.write', body, { headers: { traceparent } });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ result: 'pong', durationMs: 2 });
    expect(relay.received).toEqual([
      {
        boardUuid: board,
        sessionId: session,
        procedure: 'gpio.write',
        args: [1],
        kwargs: { a: 2 },
        timeoutMs: expect.any(Number),
        contractsHash: 'c0ffee',
        requestId: expect.stringMatching(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/),
        caller: { kind: 'key', id: expect.any(String) },
      },
    ]);
    expect(relay.received[0]?.timeoutMs).toBeLessThan(5000);
  });

  it('need no body and have 30 s by default', async () => {
    expect((await call(`${board}/rpc/ping`)).status).toBe(200);
    expect(relay.received[0]?.timeoutMs).toBeGreaterThan(29_000);
  });

  describe('and the database', () => {
    const times = 20;
    const asked = async (work: (index: number) => Promise<unknown>) => {
      const count = async () => {
        const [[row]] = await connection.query<RowDataPacket[]>("SHOW GLOBAL STATUS LIKE 'Questions'");
        return Number(row?.Value);
      };
      const before = await count();
      for (let index = 0; index < times; index += 1) await work(index);
      // The list of agents and the audit rows add a few per second, not per call.
      return ((await count()) - before) / times;
    };

    /** The server counts for other test files too: measured again until they are quiet. */
    const costs = (range: { min: number; below: number }, measure: () => Promise<number>) =>
      until('the expected number of queries', async () => {
        const perCall = await measure();
        expect(perCall).toBeGreaterThanOrEqual(range.min);
        return perCall < range.below;
      });

    it('cost two queries', () =>
      costs({ min: 2, below: 3 }, async () => {
        const keys = await Promise.all(Array.from({ length: times }, () => rows.key(tenant)));
        return asked((index) => call(`${board}/rpc/ping`, {}, { token: keys[index]?.token ?? '' }));
      }));

    it('cost none when they follow one another', async () => {
      await call(`${board}/rpc/ping`);
      await costs({ min: 0, below: 1 }, () => asked(() => call(`${board}/rpc/ping`)));
    });
  });

  it('go to the board that was asked for, however alike two references look', async () => {
    const there = await rows.tenant('y');
    const boards = [await rows.board(there, 'x y'), await rows.board(there, 'x')];
    for (const each of boards) await rows.session(each);
    const key = await rows.key(there);
    relay.received.length = 0;
    // The database takes `y ` for `y`.
    for (const path of ['x%20y/rpc/ping', 'x/rpc/ping?tenant=y%20'])
      expect((await call(path, {}, { token: key.token })).status).toBe(200);
    expect(relay.received.map(({ boardUuid }) => boardUuid)).toEqual(boards);
  });

  it('see at once what was changed through this process', async () => {
    const away = await rows.board(tenant, 'soon-gone');
    await rows.session(away);
    const owner = await rows.key(tenant, { role: 'admin_iot_project' });
    expect((await call(`${away}/rpc/ping`)).status).toBe(200);
    const removal = { method: 'DELETE', headers: { authorization: `Bearer ${owner.token}` } };
    expect((await fetch(`${api.url}/v1/boards/${away}`, removal)).status).toBe(204);
    expect((await call(`${away}/rpc/ping`)).status).toBe(404);
  });

  it('see within a second what was changed elsewhere', async () => {
    const key = await rows.key(tenant);
    expect((await call(`${board}/rpc/ping`, {}, { token: key.token })).status).toBe(200);
    await connection.query('UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(3) WHERE id = ?', [key.id]);
    const isRefused = async () => (await call(`${board}/rpc/ping`, {}, { token: key.token })).status === 401;
    await until('the refusal', isRefused, { timeoutMs: 1000 });
  });

  it('to an offline board are refused at once, with when it was seen last', async () => {
    const lastSeenAt = new Date('2026-11-20T10:00:00.123Z');
    const away = await rows.board(tenant, 'away', { status: 'offline', last_seen_at: lastSeenAt });
    expect(await problem(await call(`${away}/rpc/ping`))).toMatchObject({
      status: 409,
      body: { code: 'board-offline', lastSeenAt: lastSeenAt.toISOString(), boardStatus: 'offline' },
    });
    expect(relay.received).toHaveLength(0);
  });

  it('that fail at the relay fail with the same status, code and details', async () => {
    const failures = [
      [404, { code: 'procedure-not-found', message: 'no such procedure' }, {}],
      [409, { code: 'board-offline', message: 'it left' }, { boardStatus: 'online', lastSeenAt: null }],
      [
        422,
        {
          code: 'invalid-arguments',
          message: 'm',
          details: { errors: [{ pointer: '/kwargs/a', detail: 'd' }] },
        },
        { errors: [{ pointer: '/kwargs/a', detail: 'd' }] },
      ],
      [
        502,
        { code: 'procedure-failed', message: 'too hot', details: { uri: 'com.acme.hot' } },
        { uri: 'com.acme.hot' },
      ],
      [504, { code: 'deadline-exceeded', message: 'late' }, {}],
      [
        503,
        { code: 'relay-unavailable', message: 'gone', details: { mayHaveRun: true } },
        { mayHaveRun: true },
      ],
    ] as const;
    for (const [status, failure, members] of failures) {
      answer = (_request, response) => answerJson(response, status, failure);
      const refused = await problem(await call(`${board}/rpc/ping`));
      expect(refused).toMatchObject({
        status,
        body: { status, code: failure.code, detail: failure.message, ...members },
      });
    }
  });

  it('beyond what a board takes are refused with Retry-After', async () => {
    answer = (_request, response) =>
      answerJson(response, 429, {
        code: 'too-many-calls',
        message: 'busy',
        details: { retryAfterSeconds: 2 },
      });
    const response = await call(`${board}/rpc/ping`);
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '2']);
    await response.body?.cancel();
  });

  it('end at their deadline when the relay says nothing', async () => {
    answer = () => undefined;
    const startedAt = performance.now();
    const refused = await problem(await call(`${board}/rpc/ping`, { timeoutMs: 200 }));
    expect(performance.now() - startedAt).toBeLessThan(600);
    expect(refused).toMatchObject({ status: 504, body: { code: 'deadline-exceeded' } });
  });

  it('end at their deadline when the database hangs', async () => {
    const { token: unknown } = await rows.key(tenant);
    const blocker = await connection.query('LOCK TABLES boards WRITE, board_sessions WRITE, api_keys READ');
    try {
      const startedAt = performance.now();
      const refused = await problem(await call(`${board}/rpc/ping`, { timeoutMs: 200 }, { token: unknown }));
      expect(performance.now() - startedAt).toBeLessThan(600);
      expect(refused).toMatchObject({ status: 504, body: { code: 'deadline-exceeded' } });
    } finally {
      expect(blocker).toBeDefined();
      await connection.query('UNLOCK TABLES');
    }
  });

  it('are cancelled at the relay when the client goes away', async () => {
    const gone: unknown[] = [];
    answer = (request) => request.socket.on('close', () => gone.push(true));
    const leave = new AbortController();
    const pending = call(`${board}/rpc/ping`, {}, { signal: leave.signal }).catch(() => 'left');
    await until('the relay has it', () => relay.received.length === 1);
    leave.abort();
    expect(await pending).toBe('left');
    await until('the relay sees it', () => gone.length > 0);
  });

  it('stream progressive results as lines', async () => {
    answer = (_request, response, body) => {
      expect(body.progress).toBe(true);
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.end('{"progress":1}\n{"progress":{"a":2}}\n{"result":3,"durationMs":4}\n');
    };
    const response = await call(`${board}/rpc/ping`, {}, { headers: { accept: 'application/x-ndjson' } });
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    expect(await response.text()).toBe('{"progress":1}\n{"progress":{"a":2}}\n{"result":3,"durationMs":4}\n');
  });

  it('that fail before any progress are refused as usual, and by a last line afterwards', async () => {
    const accept = { accept: 'application/x-ndjson' };
    answer = (_request, response) => answerJson(response, 404, { code: 'procedure-not-found', message: 'm' });
    expect(await problem(await call(`${board}/rpc/ping`, {}, { headers: accept }))).toMatchObject({
      status: 404,
      body: { code: 'procedure-not-found' },
    });
    answer = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.end(
        '{"progress":1}\n{"error":{"code":"procedure-failed","message":"m","details":{"uri":"u"}}}\n',
      );
    };
    const response = await call(`${board}/rpc/ping`, {}, { headers: accept });
    const [first, last] = (await response.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(first).toEqual({ progress: 1 });
    expect(last).toMatchObject({ error: { status: 502, code: 'procedure-failed', detail: 'm', uri: 'u' } });
  });

  it('are refused where role, scope or name do not allow them, and the board hears nothing', async () => {
    const reader = await rows.key(tenant, { role: 'user_iot' });
    const narrow = await rows.key(tenant, { procedures: ['gpio.*', 'ping'] });
    const other = await rows.board(tenant, 'other');
    const elsewhere = await rows.key(tenant, { boards: [other] });
    const stranger = await rows.key(await rows.tenant());
    const outcome = async (path: string, key: { token: string } | undefined, body = {}) => {
      const { status, body: document } = await problem(
        await call(path, body, key ? { token: key.token } : {}),
      );
      return [status, document.code];
    };
    expect(await outcome(`${board}/rpc/ping`, reader)).toEqual([403, 'forbidden']);
    expect(await outcome(`${board}/rpc/reboot`, narrow)).toEqual([403, 'forbidden']);
    expect(await outcome(`${board}/rpc/ping`, elsewhere)).toEqual([404, 'board-not-found']);
    expect(await outcome(`${board}/rpc/ping`, stranger)).toEqual([404, 'board-not-found']);
    expect(await outcome('roof/rpc/ping', stranger)).toEqual([404, 'board-not-found']);
    expect(await outcome(`${board}/rpc/operation.run`, undefined)).toEqual([403, 'forbidden']);
    expect(await outcome(`${board}/rpc/operation`, undefined)).toEqual([403, 'forbidden']);
    expect(await outcome(`${board}/rpc/ping`, { token: 'bw_nobody' })).toEqual([401, 'unauthenticated']);
    expect(await outcome(`${board}/rpc/ping`, undefined, { timeoutMs: 300_001 })).toEqual([
      400,
      'invalid-request',
    ]);
    expect(await outcome(`${board}/rpc/ping`, undefined, { kwargs: [] })).toEqual([400, 'invalid-request']);
    expect(await outcome(`${board}/rpc/ping`, undefined, { argz: [] })).toEqual([400, 'invalid-request']);
    expect(await outcome(`${board}/rpc/Ping!`, undefined)).toEqual([400, 'invalid-request']);
    expect(relay.received).toHaveLength(0);
    expect((await call(`${board}/rpc/gpio.write`, {}, { token: narrow.token })).status).toBe(200);
  });

  it('say that nothing was done when no agent of the cell lives', async () => {
    const far = await rows.board(tenant, 'far');
    await rows.session(far, 'cell-without-agents');
    expect(await problem(await call(`${far}/rpc/ping`))).toMatchObject({
      status: 503,
      body: { code: 'relay-unavailable', mayHaveRun: false },
    });
  });

  it('leave audit rows, written together soon after', async () => {
    const audited = await rows.board(tenant, 'audited');
    await rows.session(audited);
    await call(`${audited}/rpc/ping`);
    answer = (_request, response) => answerJson(response, 502, { code: 'procedure-failed', message: 'm' });
    await call(`${audited}/rpc/reboot`);
    const found = await until('two rows', async () => {
      const [audit] = await connection.query<RowDataPacket[]>(
        'SELECT * FROM audit_events WHERE target = ? ORDER BY id',
        [audited],
      );
      return audit.length === 2 ? audit : undefined;
    });
    const written = found.map(({ action, target, result, detail }) => ({
      action,
      target,
      result,
      ...detail,
    }));
    expect(written).toMatchObject([
      { action: 'callProcedure', target: audited, result: 'ok', procedure: 'ping' },
      { action: 'callProcedure', target: audited, result: 'procedure-failed', procedure: 'reboot' },
    ]);
  });
  it('leave their audit rows behind when the api is asked to stop right after', async () => {
    const audited = await rows.board(tenant, 'audited-last');
    const another = await startApi(db);
    const url = `${another.url}/v1/boards/${audited}/rpc/ping`;
    const response = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    expect(response.status).toBe(409);
    expect(await another.stop()).toBe(0);
    const [audit] = await connection.query<RowDataPacket[]>(
      'SELECT result FROM audit_events WHERE target = ?',
      [audited],
    );
    expect(audit).toEqual([{ result: 'board-offline' }]);
  });
});
