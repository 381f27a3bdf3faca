import type { ServerResponse } from 'node:http';
import type { Connection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createCursorCodec } from '../../api/events/event-cursor.ts';
import { eventsKeptMs } from '../../common/db/queries/events.ts';
import type { TestDatabase } from '../harness/mariadb.ts';
import { until } from '../harness/until.ts';
import { type FakeRelay, startFakeRelay } from '../unit/relay/fake-relay.ts';
import { openEvents, type SseClient } from './events-support.ts';
import { createRows, openTestDatabase, type RunningApi, relayKey, startApi } from './rpc-support.ts';

describe('live events', () => {
  let connection: Connection;
  let second: Connection;
  let db: TestDatabase;
  let close: () => Promise<void>;
  let api: RunningApi;
  let relay: FakeRelay;
  let rows: ReturnType<typeof createRows>;
  let tenant: string;
  let board: string;
  let token: string;
  const clients: SseClient[] = [];
  /** The open streams of readings: what was asked for, and where lines go. */
  const live = new Set<{ interest: Record<string, unknown>; response: ServerResponse }>();

  beforeAll(async () => {
    const opened = await openTestDatabase();
    ({ db, connection, close } = opened);
    second = await db.connect();
    rows = createRows(connection);
    relay = await startFakeRelay('a', (request, response, interest) => {
      const stream = { interest, response };
      live.add(stream);
      request.socket.on('close', () => live.delete(stream));
      response.write('{"type":"beat"}\n');
    });
    await rows.agent(relay.agent.relayUrl);
    tenant = await rows.tenant();
    board = await rows.board(tenant, 'roof');
    ({ token } = await rows.key(tenant, { role: 'user_iot' }));
    api = await startApi(db);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await until('no stream of readings is left', () => live.size === 0);
  });
  afterAll(async () => {
    await api.stop();
    await relay.stop();
    await second.end();
    await close();
  });

  async function listen(options: Parameters<typeof openEvents>[2] = {}, by = token): Promise<SseClient> {
    const client = await openEvents(api.url, by, options);
    clients.push(client);
    return client;
  }
  const presence = (uuid: string, status: string) =>
    rows.event(tenant, uuid, { board: uuid, name: 'roof', status });
  const statuses = (client: SseClient) => client.of('presence').map(({ data }) => data.status);
  const readings = (boardUuid: string, tenantId = tenant, value = 1) =>
    `${JSON.stringify({
      type: 'readings',
      tenantId,
      boardUuid,
      readings: [{ stream: 's/t', type: 'number', unit: 'Cel', at: 5, value }],
    })}\n`;
  const sendLive = (line: string) => {
    for (const { response } of live) response.write(line);
  };

  it('are a stream that proxies pass on at once', async () => {
    const client = await listen();
    expect(client.status).toBe(200);
    expect(client.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    expect(Date.parse(String(client.of('beat')[0]?.data.at))).toBeGreaterThan(Date.now() - 5000);
  });

  it('bring a committed change to every listener within a second', async () => {
    const both = await Promise.all([listen(), listen({ query: 'types=presence' })]);
    const startedAt = performance.now();
    await presence(board, 'online');
    for (const client of both) await until('the event', () => client.of('presence').length === 1);
    expect(performance.now() - startedAt).toBeLessThan(1000);
    expect(both[0]?.of('presence')[0]).toEqual({
      id: expect.stringMatching(/^[\w.-]+$/),
      type: 'presence',
      data: { type: 'presence', tenant, board, name: 'roof', status: 'online' },
    });
    expect(both[1]?.of('presence')[0]?.id).toBe(both[0]?.of('presence')[0]?.id);
  });

  it('bring a change whose transaction committed after later ones', async () => {
    const client = await listen();
    await second.beginTransaction();
    await createRows(second).event(tenant, board, { status: 'first' });
    await presence(board, 'second');
    await until('the later one', () => statuses(client).includes('second'));
    await second.commit();
    await until('the earlier one', () => statuses(client).includes('first'));
    expect(statuses(client)).toEqual(['second', 'first']);
  });

  it('go only to those who may see them', async () => {
    const strange = await rows.tenant();
    const theirs = await rows.board(strange, 'roof');
    const hidden = await rows.board(tenant, 'hidden');
    const narrow = await rows.key(tenant, { boards: [board] });
    const [own, scoped, stranger] = await Promise.all([
      listen(),
      listen({}, narrow.token),
      listen({}, (await rows.key(strange)).token),
    ]);
    await rows.event(strange, theirs, { status: 'theirs' });
    await presence(hidden, 'hidden');
    await presence(board, 'last');
    await until('the last', () => statuses(own).includes('last') && statuses(scoped).includes('last'));
    await until('theirs', () => stranger.of('presence').length > 0);
    expect(statuses(own)).toEqual(['hidden', 'last']);
    expect(statuses(scoped)).toEqual(['last']);
    expect(statuses(stranger)).toEqual(['theirs']);
  });

  it('are only those of the asked boards and types', async () => {
    const named = await rows.board(tenant, 'cellar');
    const client = await listen({ query: 'board=CELLAR&types=presence' });
    const other = await listen({ query: 'types=readings' });
    await presence(board, 'roof');
    await presence(named, 'cellar');
    await until('the event', () => client.of('presence').length > 0);
    expect(statuses(client)).toEqual(['cellar']);
    expect(other.of('presence')).toEqual([]);
  });

  it('of boards or tenants of others are refused like those that do not exist', async () => {
    const theirs = await rows.board(await rows.tenant(), 'theirs');
    for (const query of [`board=${theirs}`, 'board=theirs', 'board=nowhere']) {
      const refused = await listen({ query });
      expect([refused.status, JSON.parse(refused.text()).code]).toEqual([404, 'board-not-found']);
    }
    expect((await listen({ query: 'tenant=nowhere' })).status).toBe(404);
    expect((await listen({ query: 'types=weather' })).status).toBe(400);
    expect((await listen({}, 'bw_nobody')).status).toBe(401);
  });

  it('go on after the last one that a client has seen, with nothing lost', async () => {
    const first = await listen();
    await presence(board, 'one');
    await until('the event', () => first.of('presence').length === 1);
    first.close();
    await presence(board, 'two');
    const lastEventId = first.of('presence')[0]?.id ?? '';
    for (const options of [{ lastEventId }, { query: `after=${lastEventId}` }]) {
      const again = await listen(options);
      await until('what was missed', () => statuses(again).includes('two'));
      await presence(board, 'three');
      await until('what came since', () => statuses(again).includes('three'));
      // Events of the seconds before the cursor may come again; none comes twice on one stream.
      const ids = again.of('presence').map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      expect(again.of('resync')).toEqual([]);
    }
  });

  it("go on after a beat's id as well", async () => {
    const first = await listen();
    const lastEventId = first.of('beat')[0]?.id ?? '';
    first.close();
    await presence(board, 'after the beat');
    const again = await listen({ lastEventId });
    expect(statuses(again)).toContain('after the beat');
  });

  it('go on after the last one seen, also where the address still names an older one', async () => {
    const first = await listen();
    const since = first.of('beat')[0]?.id ?? '';
    first.close();
    const seen = await listen();
    const lastEventId = createCursorCodec(relayKey).format({ at: Date.now() + 60_000, id: 0 });
    await presence(board, 'seen already');
    await until('the event', () => statuses(seen).includes('seen already'));
    const again = await listen({ lastEventId, query: `after=${since}` });
    expect(statuses(again)).toEqual([]);
  });

  it('go on after thousands that were missed, without taking the client for a slow one', async () => {
    const first = await listen();
    const lastEventId = first.of('beat')[0]?.id ?? '';
    first.close();
    const names = Array.from({ length: 4500 }, (_, index) => `${index} ${'é'.repeat(100)}`);
    await connection.query('INSERT INTO events (tenant_id, board_uuid, type, payload) VALUES ?', [
      names.map((name) => [tenant, board, 'presence', JSON.stringify({ board, name, status: 'many' })]),
    ]);
    const again = await listen({ lastEventId });
    expect(again.ended()).toBe(false);
    const got = new Set(again.of('presence').map(({ data }) => data.name));
    expect(names.filter((name) => !got.has(name))).toEqual([]);
  });

  it('begin with resync when the cursor is too old, foreign or no cursor', async () => {
    const codec = createCursorCodec(relayKey);
    const old = codec.format({ at: Date.now() - eventsKeptMs - 1000, id: 1 });
    const foreign = createCursorCodec('another').format({ at: Date.now(), id: 1 });
    for (const [lastEventId, reason] of [
      [old, 'too-old'],
      [foreign, 'unknown-cursor'],
      ['17', 'unknown-cursor'],
    ] as const) {
      const client = await listen({ lastEventId });
      expect(client.events[0]).toMatchObject({ type: 'resync', data: { reason } });
      await presence(board, reason);
      await until('what comes next', () => statuses(client).includes(reason));
    }
  });

  it('bring fresh readings of a few boards, which are watched meanwhile', async () => {
    const client = await listen({ query: `types=readings&board=${board}` });
    await until('the stream', () => live.size === 1);
    expect([...live][0]?.interest).toEqual({ boards: [board], tenants: null });
    sendLive(readings(board));
    await until('the readings', () => client.of('readings').length === 1);
    expect(client.of('readings')[0]).toEqual({
      id: undefined,
      type: 'readings',
      data: {
        type: 'readings',
        tenant,
        board,
        readings: [{ stream: 's/t', type: 'number', unit: 'Cel', at: 5, value: 1 }],
      },
    });
    client.close();
    await until('the stream is closed', () => live.size === 0);
  });

  it('ask the agents for what all listeners want together, and again when that changes', async () => {
    const cellar = await rows.board(tenant, 'cellar-2');
    const one = await listen({ query: `types=readings&board=${board}` });
    await until('one board', () => [...live].some(({ interest }) => String(interest.boards) === board));
    const two = await listen({ query: `types=readings&board=${cellar}` });
    const wanted = String([board, cellar].sort());
    await until('both boards', () => live.size === 1 && String([...live][0]?.interest.boards) === wanted);
    sendLive(readings(cellar));
    await until('the readings', () => two.of('readings').length === 1);
    expect(one.of('readings')).toEqual([]);
  });

  it('bring readings of all boards to who may see many, without hurrying these boards', async () => {
    const large = await rows.tenant();
    for (let count = 0; count < 51; count += 1) await rows.board(large, `b${count}`);
    const last = await rows.board(large, 'last');
    const client = await listen({ query: 'types=readings' }, (await rows.key(large)).token);
    await until('the stream', () => live.size === 1);
    expect([...live][0]?.interest).toEqual({ boards: null, tenants: [large] });
    sendLive(readings(board) + readings(last, large));
    await until('the readings', () => client.of('readings').length > 0);
    expect(client.of('readings').map(({ data }) => data.board)).toEqual([last]);
  });

  it('watch a new board as soon as it shows', async () => {
    const fresh = await rows.tenant();
    await rows.board(fresh, 'first');
    const client = await listen({}, (await rows.key(fresh)).token);
    await until('the stream', () => live.size === 1);
    const late = await rows.board(fresh, 'late');
    await rows.event(fresh, late, { status: 'online' });
    await until('the event', () => client.of('presence').length === 1);
    await until(
      'it is watched',
      () => [...live].some(({ interest }) => String(interest.boards).includes(late)),
      {
        timeoutMs: 1500,
      },
    );
  });

  it('open the streams of readings again after the agent broke off', async () => {
    const client = await listen({ query: `types=readings&board=${board}` });
    const broken = await until('the stream', () => [...live][0]);
    broken.response.destroy();
    await until('another stream', () => live.size === 1 && ![...live].includes(broken));
    sendLive(readings(board));
    await until('the readings', () => client.of('readings').length === 1);
  });

  it('end within seconds when the key is revoked', async () => {
    const key = await rows.key(tenant);
    const client = await listen({}, key.token);
    await connection.query('UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(3) WHERE id = ?', [key.id]);
    await until('the end', () => client.ended(), { timeoutMs: 6000 });
  });

  it('stop for boards that the key may not see any more', async () => {
    const key = await rows.key(tenant);
    const hidden = await rows.board(tenant, 'soon-hidden');
    const client = await listen({}, key.token);
    await connection.query('UPDATE api_keys SET boards = ? WHERE id = ?', [JSON.stringify([board]), key.id]);
    await until(
      'the narrow interest',
      () => [...live].some(({ interest }) => String(interest.boards) === board),
      {
        timeoutMs: 6000,
      },
    );
    await presence(hidden, 'hidden');
    await presence(board, 'seen');
    await until('the other', () => statuses(client).includes('seen'));
    expect(statuses(client)).toEqual(['seen']);
  });

  it('are limited to ten streams of one caller at a time', async () => {
    const key = await rows.key(tenant);
    const open = await Promise.all(
      Array.from({ length: 10 }, () => listen({ query: 'types=presence' }, key.token)),
    );
    const refused = await listen({ query: 'types=presence' }, key.token);
    expect([refused.status, JSON.parse(refused.text()).code]).toEqual([429, 'too-many-requests']);
    expect(refused.headers['retry-after']).toBe('10');
    open[0]?.close();
    await until('room', async () => (await listen({ query: 'types=presence' }, key.token)).status === 200);
  });

  it('end when the api is asked to stop, which it does at once', async () => {
    const another = await startApi(db);
    const client = await openEvents(another.url, token);
    const startedAt = performance.now();
    expect(await another.stop()).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(3000);
    expect(client.ended()).toBe(true);
  });

  it('cut off a client that does not read, and go on for the others', async () => {
    const [slow, quick] = await Promise.all([
      listen({ query: `types=readings&board=${board}` }),
      listen({ query: `types=readings&board=${board}` }),
    ]);
    await until('the stream', () => live.size === 1);
    slow.stall();
    const text = 'x'.repeat(100_000);
    const line = readings(board).replace('"Cel"', JSON.stringify(text));
    const metric = async () =>
      /^boardwalk_event_streams_cut_total (\d+)$/m.exec(
        await (await fetch(`${api.url}/metrics`)).text(),
      )?.[1];
    await until('the cut', async () => {
      sendLive(line);
      return (await metric()) === '1';
    });
    const count = quick.of('readings').length;
    sendLive(line);
    await until('the next one', () => quick.of('readings').length > count);
    expect(quick.ended()).toBe(false);
  });
});
