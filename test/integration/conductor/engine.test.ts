import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readyBoards, wakeBoard } from '../../../common/db/queries/board-queues.ts';
import { startStatusServer } from '../../../conductor/status-server.ts';
import { createWakeRoute } from '../../../conductor/wake-route.ts';
import { until } from '../../harness/until.ts';
import { relayKey } from '../rpc-support.ts';
import {
  type EngineFixture,
  journalEpoch,
  openEngineFixture,
  report,
  status,
  succeed,
} from './engine-support.ts';

let fix: EngineFixture;
let tenant: string;

beforeAll(async () => {
  fix = await openEngineFixture();
  tenant = await fix.rows.tenant();
});
afterEach(async () => {
  await fix.stopEngines();
  fix.relay.calls.length = 0;
  fix.relay.play((call) => succeed(call));
});
afterAll(() => fix.close());

const ended = (operation: string, state: string) =>
  until(`it is ${state}`, async () => (await fix.state(operation)) === state);

describe('an operation on one board', () => {
  it('is sent, ends with the answer of the board, and leaves its evidence', async () => {
    const { uuid, session } = await fix.online(tenant, 'one');
    const id = await fix.operation(tenant, [uuid]);
    fix.start();
    await ended(id, 'succeeded');
    expect(await fix.target(id)).toMatchObject({
      state: 'succeeded',
      queue: null,
      attempt: 1,
      deliveries: 1,
      safety: 'idempotent',
      session_id: session,
      result: { done: true },
    });
    expect(await fix.kinds(id)).toEqual(['dispatched', 'succeeded']);
    expect(await fix.queue(uuid)).toMatchObject({ ready: null, has_open: 0, owner: null, until_at: null });
    const [call] = fix.relay.calls;
    expect(call).toMatchObject({
      boardUuid: uuid,
      sessionId: session,
      procedure: 'operation.run',
      caller: { kind: 'process', id: 'conductor' },
      kwargs: { operationId: id, attempt: 1, procedure: 'system.echo', kwargs: { text: 'x' } },
    });
    const [events] = await fix.connection.query(
      "SELECT JSON_VALUE(payload, '$.state') AS state FROM events WHERE type = 'operation' ORDER BY id",
    );
    expect((events as { state: string }[]).map(({ state }) => state)).toEqual([
      'dispatched',
      'succeeded',
      'succeeded',
    ]);
  });
});

describe('an operation whose board is away', () => {
  it('waits for it, and is sent when it is back', async () => {
    const uuid = await fix.rows.board(tenant, 'away', { contracts_hash: 'ordinary', status: 'offline' });
    await fix.connection.query(
      'INSERT INTO procedure_contracts (board_uuid, name, contract) VALUES (?, ?, ?)',
      [uuid, 'system.echo', '{"safety":"idempotent"}'],
    );
    const id = await fix.operation(tenant, [uuid]);
    const engine = fix.start();
    await until('the engine has looked', async () => (await fix.queue(uuid))?.ready === null);
    expect(await fix.queue(uuid)).toMatchObject({ ready: null, has_open: 1, owner: null });
    expect(await fix.target(id)).toMatchObject({ state: 'queued', attempt: 0 });
    await fix.rows.session(uuid);
    await fix.database.transaction((manager) => wakeBoard(manager, uuid));
    expect(await fix.queue(uuid)).toMatchObject({ ready: 1, lane: 1 });
    engine.wake([uuid]);
    await ended(id, 'succeeded');
  });

  it('fails when it was for now, and says when the board was last seen', async () => {
    const uuid = await fix.rows.board(tenant, 'gone', { status: 'offline', last_seen_at: new Date(0) });
    const id = await fix.operation(tenant, [uuid], { delivery: 'now' });
    fix.start();
    await ended(id, 'failed');
    const target = await fix.target(id);
    expect(target).toMatchObject({
      state: 'failed',
      attempt: 0,
      deliveries: 0,
      error: { code: 'board-offline' },
    });
    expect(target?.error).toMatchObject({ details: { lastSeenAt: '1970-01-01T00:00:00.000Z' } });
    expect(fix.relay.calls).toEqual([]);
  });

  it('is not delivered when the relay finds it gone: queued as it was, with the evidence', async () => {
    const { uuid } = await fix.online(tenant, 'just gone');
    fix.relay.play(async () => {
      await fix.connection.query("UPDATE boards SET status = 'offline' WHERE uuid = ?", [uuid]);
      await fix.connection.query('UPDATE board_sessions SET live = NULL WHERE board_uuid = ?', [uuid]);
      return { status: 409, code: 'board-offline', mayHaveRun: false };
    });
    const id = await fix.operation(tenant, [uuid]);
    fix.start();
    await until('it waits for the board', async () => (await fix.queue(uuid))?.ready === null);
    expect(await fix.target(id)).toMatchObject({ state: 'queued', attempt: 1, deliveries: 0 });
    expect(await fix.kinds(id)).toEqual(['dispatched', 'not-delivered']);
    expect(fix.relay.calls).toHaveLength(1);
  });
});

describe('an operation whose call fails', () => {
  it('on the way is sent as the same attempt until it arrives', async () => {
    const { uuid } = await fix.online(tenant, 'behind a busy relay');
    let left = 2;
    fix.relay.play((call) => {
      left -= 1;
      return left < 0 ? succeed(call) : { status: 429, code: 'too-many-calls', mayHaveRun: false };
    });
    const id = await fix.operation(tenant, [uuid]);
    fix.start();
    await ended(id, 'succeeded');
    expect(await fix.kinds(id)).toEqual([
      'dispatched',
      'not-delivered',
      'dispatched',
      'not-delivered',
      'dispatched',
      'succeeded',
    ]);
    expect(await fix.target(id)).toMatchObject({ attempt: 1, deliveries: 1 });
  });

  it('without an answer is sent again as the same attempt, for the same journal', async () => {
    const { uuid } = await fix.online(tenant, 'behind a breaking relay');
    fix.relay.play((call) => (fix.relay.calls.length === 1 ? 'break-off' : succeed(call)));
    const id = await fix.operation(tenant, [uuid], { procedure_name: 'system.journaled' });
    fix.start();
    await ended(id, 'succeeded');
    expect(await fix.kinds(id)).toEqual(['dispatched', 'no-answer', 'sent-again', 'succeeded']);
    expect(fix.relay.calls.map(({ kwargs }) => [kwargs?.attempt, kwargs?.journalEpoch])).toEqual([
      [1, undefined],
      [1, journalEpoch],
    ]);
    expect(await fix.target(id)).toMatchObject({ attempt: 1, deliveries: 2 });
  });

  it('without an answer is asked for when it may not be sent twice, and unknown without one', async () => {
    const { uuid } = await fix.online(tenant, 'silent');
    fix.relay.play(() => 'break-off');
    const id = await fix.operation(tenant, [uuid], { procedure_name: 'system.once' });
    fix.start();
    await ended(id, 'failed');
    expect(fix.relay.calls.map(({ procedure }) => procedure)).toEqual(['operation.run', 'operation.status']);
    expect(await fix.target(id)).toMatchObject({ state: 'unknown', error: { code: 'no-answer' } });
    expect(await fix.kinds(id)).toEqual(['dispatched', 'no-answer', 'unknown']);
  });

  it('is sent when the board proves that it never arrived', async () => {
    const { uuid } = await fix.online(tenant, 'proves it');
    fix.relay.play((call) => {
      if (fix.relay.calls.length === 1) return 'break-off';
      return call.procedure === 'operation.run' ? succeed(call) : status([], [id]);
    });
    const id = await fix.operation(tenant, [uuid], { procedure_name: 'system.once' });
    fix.start();
    await ended(id, 'succeeded');
    expect(await fix.kinds(id)).toEqual([
      'dispatched',
      'no-answer',
      'never-arrived',
      'dispatched',
      'succeeded',
    ]);
    expect(await fix.target(id)).toMatchObject({ attempt: 1, deliveries: 1 });
  });

  it('on the board runs again as a new attempt while it has some left', async () => {
    const { uuid } = await fix.online(tenant, 'fails once');
    fix.relay.play((call) =>
      call.kwargs?.attempt === 1
        ? report(call, 'failed', { error: { code: 'procedure-failed', message: 'no' } })
        : succeed(call),
    );
    const id = await fix.operation(tenant, [uuid], { max_attempts: 3 });
    fix.start();
    await ended(id, 'succeeded');
    expect(await fix.kinds(id)).toEqual(['dispatched', 'retry', 'dispatched', 'succeeded']);
    expect(await fix.target(id)).toMatchObject({ attempt: 2, deliveries: 1, error: null });
  });

  it('because the board does not offer the procedure fails at once', async () => {
    const { uuid } = await fix.online(tenant, 'offers little');
    const id = await fix.operation(tenant, [uuid], { procedure_name: 'system.nothing' });
    fix.start();
    await ended(id, 'failed');
    expect(await fix.target(id)).toMatchObject({ error: { code: 'procedure-not-found' } });
    expect(fix.relay.calls).toEqual([]);
  });
});

describe('an operation that takes long', () => {
  it('is left to its board, asked for in a new session, and ends with what the journal says', async () => {
    const { uuid } = await fix.online(tenant, 'takes long');
    fix.relay.play((call) => report(call, 'running'));
    const id = await fix.operation(tenant, [uuid]);
    const engine = fix.start();
    await until('it runs', async () => (await fix.target(id))?.state === 'running');
    await until('the board is given back', async () => (await fix.queue(uuid))?.owner === null);
    expect(await fix.queue(uuid)).toMatchObject({ ready: null, has_open: 1 });
    fix.relay.play(() => status([{ operationId: id, attempt: 1, state: 'succeeded', result: 7 }]));
    await fix.connection.query('UPDATE board_sessions SET live = NULL WHERE board_uuid = ?', [uuid]);
    const session = await fix.rows.session(uuid);
    await fix.database.transaction((manager) => wakeBoard(manager, uuid));
    engine.wake([uuid]);
    await ended(id, 'succeeded');
    expect(await fix.target(id)).toMatchObject({ result: 7, session_id: session });
    expect(fix.relay.calls.map(({ procedure }) => procedure)).toEqual(['operation.run', 'operation.status']);
  });

  it('is told to stop when it was cancelled, and ends with the word of the board', async () => {
    const { uuid } = await fix.online(tenant, 'is told to stop');
    fix.relay.play((call) =>
      call.procedure === 'operation.run'
        ? report(call, 'running')
        : status([{ operationId: id, attempt: 1, state: 'cancelled' }]),
    );
    const id = await fix.operation(tenant, [uuid]);
    const engine = fix.start();
    await until('it runs', async () => (await fix.target(id))?.state === 'running');
    await fix.connection.query('UPDATE operation_targets SET cancel_requested = 1 WHERE operation_id = ?', [
      id,
    ]);
    await fix.database.transaction((manager) => wakeBoard(manager, uuid));
    engine.wake([uuid]);
    await ended(id, 'cancelled');
    expect(fix.relay.calls.at(-1)).toMatchObject({
      procedure: 'operation.cancel',
      kwargs: { operationIds: [id] },
    });
  });

  it('is told so once while its board takes its time to stop', async () => {
    const { uuid } = await fix.online(tenant, 'stops slowly');
    fix.relay.play((call) =>
      call.procedure === 'operation.run'
        ? report(call, 'running')
        : status([{ operationId: id, attempt: 1, state: 'running' }]),
    );
    const id = await fix.operation(
      tenant,
      [uuid],
      {},
      { targets: { state: 'running', attempt: 1, cancel_requested: 1 } },
    );
    fix.start({ lookEveryMs: 20 });
    await until('it is told', () => fix.relay.calls.length === 1);
    await until('the board is given back', async () => (await fix.queue(uuid))?.owner === null);
    const queue = await fix.queue(uuid);
    expect(new Date(String(queue?.next_at)).getTime()).toBeGreaterThan(Date.now() + 5000);
    expect(fix.relay.calls).toHaveLength(1);
  });

  it('that was cancelled before it was sent is never sent', async () => {
    const { uuid } = await fix.online(tenant, 'never told');
    const id = await fix.operation(tenant, [uuid], {}, { targets: { cancel_requested: 1 } });
    fix.start();
    await ended(id, 'cancelled');
    expect(fix.relay.calls).toEqual([]);
  });
});

describe('operations of one board', () => {
  it('run one at a time in their order, while parallel ones run beside them', async () => {
    const { uuid } = await fix.online(tenant, 'in order');
    const order: unknown[] = [];
    fix.relay.play(async (call) => {
      order.push(call.kwargs?.operationId);
      await new Promise((resolve) => setTimeout(resolve, 20));
      return succeed(call);
    });
    const ids: string[] = [];
    for (let count = 0; count < 6; count += 1) ids.push(await fix.operation(tenant, [uuid]));
    fix.start();
    for (const id of ids) await ended(id, 'succeeded');
    expect(order).toEqual(ids);
    expect(fix.relay.atOnce(uuid)).toBe(1);
    const { uuid: other } = await fix.online(tenant, 'beside one another');
    // None ends before all have begun: run one after another, they would wait for each other forever.
    fix.relay.play(async (call) => {
      await until('all run', () => fix.relay.atOnce(other) === 4);
      return succeed(call);
    });
    const parallel: string[] = [];
    for (let count = 0; count < 4; count += 1)
      parallel.push(await fix.operation(tenant, [other], { parallel: 1 }, { queued: count === 3 }));
    for (const id of parallel) await ended(id, 'succeeded');
    expect(fix.relay.atOnce(other)).toBe(4);
  });

  it('go on behind many that wait for their time', async () => {
    const { uuid } = await fix.online(tenant, 'many wait');
    const later = { targets: { not_before: new Date(Date.now() + 3_600_000) } };
    for (let count = 0; count < 30; count += 1) await fix.operation(tenant, [uuid], {}, later);
    const id = await fix.operation(tenant, [uuid]);
    fix.start();
    await ended(id, 'succeeded');
    await until('the board waits for the next one', async () => {
      const queue = await fix.queue(uuid);
      return queue?.owner === null && (queue.next_at as Date).getTime() > Date.now() + 3_000_000;
    });
    expect(fix.relay.calls).toHaveLength(1);
  });

  it('end with those of many boards as one', async () => {
    const boards: string[] = [];
    for (let count = 0; count < 40; count += 1)
      boards.push((await fix.online(tenant, `one of many ${count}`)).uuid);
    const id = await fix.operation(tenant, boards);
    fix.start();
    await ended(id, 'succeeded');
    expect(
      await fix.value(
        "SELECT COUNT(*) FROM operation_targets WHERE operation_id = ? AND state = 'succeeded'",
        [id],
      ),
    ).toBe(40);
    expect(fix.relay.calls).toHaveLength(40);
    expect(
      await fix.value('SELECT COUNT(*) FROM operation_events WHERE operation_id = ? AND board_uuid IS NULL', [
        id,
      ]),
    ).toBe(1);
  });
});

describe('a wake', () => {
  async function startServer(engine: ReturnType<EngineFixture['start']>) {
    const route = createWakeRoute({ key: relayKey, engine });
    const server = await startStatusServer({
      host: '127.0.0.1',
      port: 0,
      checkReady: async () => undefined,
      metrics: async () => ({ contentType: 'text/plain', text: '' }),
      wake: () => route,
    });
    const post = async (body: object, key = relayKey) => {
      const response = await fetch(`${server.url}/wake`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}` },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    return { post, close: () => server.close() };
  }

  it('begins at once, and is answered when the operation has ended', async () => {
    const { uuid } = await fix.online(tenant, 'woken');
    const engine = fix.start({ lookEveryMs: 60_000 });
    const { post, close } = await startServer(engine);
    try {
      const id = await fix.operation(tenant, [uuid]);
      const startedAt = performance.now();
      const answer = post({ operations: [id], boards: [uuid], waitMs: 20_000 });
      expect(await answer).toEqual({ status: 200, body: { ended: true } });
      expect(performance.now() - startedAt).toBeLessThan(1500);
      expect(await post({ operations: [id], waitMs: 5000 })).toEqual({ status: 200, body: { ended: true } });
      expect(await post({ boards: [uuid] })).toEqual({ status: 202, body: {} });
    } finally {
      await close();
    }
  });

  it('says so when the operation has not ended in time, and hears of ends that others wrote', async () => {
    const { uuid } = await fix.online(tenant, 'woken and long');
    fix.relay.play((call) => report(call, 'running'));
    const engine = fix.start();
    const { post, close } = await startServer(engine);
    try {
      const id = await fix.operation(tenant, [uuid]);
      expect(await post({ operations: [id], boards: [uuid], waitMs: 100 })).toEqual({
        status: 200,
        body: { ended: false },
      });
      const waiting = post({ operations: [id], waitMs: 20_000 });
      await fix.connection.query("UPDATE operations SET state = 'succeeded' WHERE id = ?", [id]);
      expect(await waiting).toEqual({ status: 200, body: { ended: true } });
    } finally {
      await close();
    }
  });

  it('needs the key of the relay, and sense', async () => {
    const { post, close } = await startServer(fix.start());
    try {
      expect((await post({}, 'another key')).status).toBe(401);
      expect((await post({ boards: ['x'] })).status).toBe(422);
    } finally {
      await close();
    }
  });
});

describe('a board whose rows make no sense', () => {
  it('holds up no other', async () => {
    const boards: string[] = [];
    for (let count = 0; count < 5; count += 1)
      boards.push((await fix.online(tenant, `sensible ${count}`)).uuid);
    const bad = boards[2] ?? '';
    const never = {
      delivery: 'window',
      daily_window: '{"from":"08:00","to":"09:00","timeZone":"Mars/Base"}',
    };
    const poison = await fix.operation(tenant, [bad], never, { queued: false });
    const id = await fix.operation(
      tenant,
      boards.filter((each) => each !== bad),
      {},
      { queued: false },
    );
    const entries = boards.map((boardUuid) => ({ boardUuid, tenantId: tenant }));
    await fix.database.transaction((manager) => readyBoards(manager, entries));
    fix.start();
    await ended(id, 'succeeded');
    expect(await fix.target(poison)).toMatchObject({ state: 'queued', attempt: 0 });
  });

  it('that gives an answer without sense stays dispatched: it may have run', async () => {
    const { uuid } = await fix.online(tenant, 'talks nonsense');
    fix.relay.play((call) => succeed(call, JSON.parse(`${'['.repeat(60)}${']'.repeat(60)}`)));
    const id = await fix.operation(tenant, [uuid]);
    fix.start();
    await until('it was answered', async () => (await fix.kinds(id)).includes('no-answer'));
    expect(await fix.target(id)).toMatchObject({ state: 'dispatched', attempt: 1 });
  });
});

describe('an engine that stops', () => {
  it('waits for what is under way and records it', async () => {
    const { uuid } = await fix.online(tenant, 'under way at the stop');
    fix.relay.play(async (call) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return succeed(call);
    });
    const id = await fix.operation(tenant, [uuid]);
    fix.start();
    await until('it is called', () => fix.relay.calls.length === 1);
    await fix.stopEngines();
    expect(await fix.state(id)).toBe('succeeded');
    expect(await fix.queue(uuid)).toMatchObject({ owner: null, has_open: 0 });
  });
});
