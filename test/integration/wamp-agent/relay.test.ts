import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentUris } from '../../../common/wamp/uris.ts';
import { until } from '../../harness/until.ts';
import {
  type Fixture,
  greet,
  helloOf,
  joinBoard,
  joinService,
  relay,
  rpcBody,
  type SeededBoard,
  seedBoard,
  seedKey,
  seedTenant,
  startFixture,
} from './fixture.ts';
import type { RawCall, RawSession } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;
let board: SeededBoard;
let session: RawSession;
const released = Promise.withResolvers<void>();

async function answer(procedure: string, call: RawCall): Promise<unknown> {
  if (procedure === 'echo') return call.kwargs;
  if (procedure === 'sleep') return released.promise;
  if (procedure === 'fail')
    throw Object.assign(new Error('the pump is dry'), { uri: 'com.example.dry', kwargs: { level: 0 } });
  if (procedure === 'count') for (let index = 1; index <= 3; index += 1) call.progress(index);
  return 'done';
}

beforeAll(async () => {
  fixture = await startFixture(1, { BOARDWALK_CALLS_PER_BOARD: '3' });
  tenantId = await seedTenant(fixture);
  board = await seedBoard(fixture, tenantId);
  session = await joinBoard(fixture, board);
  await greet(session, helloOf(), answer);
});
afterAll(async () => {
  session?.cut();
  await fixture?.stop();
});

const call = (procedure: string, more: object = {}) =>
  relay(fixture, '/relay/rpc', rpcBody(board, procedure, more));

describe('a relayed call', () => {
  it('gives the result and how long it took', async () => {
    expect(await call('echo', { kwargs: { text: 'a' } })).toMatchObject({
      status: 200,
      body: { result: { text: 'a' }, durationMs: expect.any(Number) },
    });
  });

  it('does not bother the board with a call that breaks its contract', async () => {
    expect(await call('echo', { kwargs: { text: 1 } })).toMatchObject({
      status: 422,
      body: {
        code: 'invalid-arguments',
        details: { errors: [{ pointer: '/kwargs/text' }], mayHaveRun: false },
      },
    });
    expect(await call('fail', { kwargs: { any: 1 }, args: [1] })).toMatchObject({
      body: { details: { errors: [{ pointer: '/args' }, { pointer: '/kwargs/any' }] } },
    });
    for (const unknown of ['nothing', 'operation.settings'])
      expect(await call(unknown)).toMatchObject({
        status: 404,
        body: { code: 'procedure-not-found', details: { mayHaveRun: false } },
      });
  });

  it("hands on the board's own error", async () => {
    expect(await call('fail')).toMatchObject({
      status: 502,
      body: {
        code: 'procedure-failed',
        message: 'the pump is dry',
        details: { error: 'com.example.dry', message: 'the pump is dry', details: { level: 0 } },
      },
    });
  });

  it('streams progressive results as lines', async () => {
    const response = await fetch(`${fixture.agents[0]?.relayUrl}/relay/rpc`, {
      method: 'POST',
      headers: { authorization: `Bearer ${fixture.relayKey}` },
      body: JSON.stringify(rpcBody(board, 'count', { progress: true })),
    });
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    const lines = (await response.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toEqual([
      { progress: 1 },
      { progress: 2 },
      { progress: 3 },
      { result: 'done', durationMs: expect.any(Number) },
    ]);
    const refused = await relay(fixture, '/relay/rpc', rpcBody(board, 'nothing', { progress: true }));
    expect(refused).toMatchObject({ status: 404 });
  });

  it('ends at its deadline, and a late answer harms nobody', async () => {
    const startedAt = performance.now();
    expect(await call('sleep', { timeoutMs: 300 })).toMatchObject({
      status: 504,
      body: { code: 'deadline-exceeded', details: { mayHaveRun: true } },
    });
    expect(performance.now() - startedAt).toBeLessThan(1000);
    const late = Array.from({ length: 3 }, () => call('sleep', { timeoutMs: 1500 }));
    // Not by asking for one: that call could take a place before the third of these.
    await until('the places are taken', async () => {
      const metrics = await fetch(`${fixture.agents[0]?.relayUrl}/metrics`);
      return /relay_calls_in_flight 3$/m.test(await metrics.text());
    });
    expect(await call('echo')).toMatchObject({
      body: { code: 'too-many-calls', details: { retryAfterSeconds: 1, mayHaveRun: false } },
    });
    for (const each of await Promise.all(late)) expect(each.status).toBe(504);
    released.resolve();
    expect(await call('echo')).toMatchObject({ status: 200 });
    expect(fixture.agents[0]?.log()).not.toContain('the router session ended');
  });

  it('says at once that a board is not connected', async () => {
    const away = await seedBoard(fixture, tenantId);
    expect(await relay(fixture, '/relay/rpc', rpcBody(away, 'echo'))).toMatchObject({
      status: 409,
      body: { code: 'board-offline', details: { mayHaveRun: false } },
    });
  });

  it('knows that a board which is not at the router was not reached, and one that does not exist', async () => {
    const away = await seedBoard(fixture, tenantId);
    // Reserved names have no contract to look up: the router is the first to know.
    const conductor = { caller: { kind: 'process', id: 'conductor' } };
    expect(await relay(fixture, '/relay/rpc', rpcBody(away, 'operation.settings', conductor))).toMatchObject({
      status: 409,
      body: {
        code: 'board-offline',
        message: 'the board is not there at the moment',
        details: { mayHaveRun: false },
      },
    });
    const never = { ...away, uuid: randomUUID() };
    expect(await relay(fixture, '/relay/rpc', rpcBody(never, 'echo'))).toMatchObject({
      status: 404,
      body: { code: 'board-not-found', details: { mayHaveRun: false } },
    });
  });

  it('may have run when the board says that it is not there or takes no such arguments', async () => {
    const strange = await seedBoard(fixture, tenantId);
    const own = await joinBoard(fixture, strange);
    const kwargs = { field: 'text', mayHaveRun: false };
    await greet(own, helloOf(), (procedure) => {
      const uri = `wamp.error.${procedure === 'echo' ? 'invalid_argument' : 'no_such_procedure'}`;
      throw Object.assign(new Error('not today'), { uri, kwargs });
    });
    expect(await relay(fixture, '/relay/rpc', rpcBody(strange, 'echo'))).toMatchObject({
      status: 422,
      body: { code: 'invalid-arguments', details: { field: 'text', mayHaveRun: true } },
    });
    expect(await relay(fixture, '/relay/rpc', rpcBody(strange, 'fail'))).toMatchObject({
      status: 404,
      body: { code: 'procedure-not-found', details: { mayHaveRun: true } },
    });
    own.cut();
  });

  it('ends when the board goes away in the middle', async () => {
    const brief = await seedBoard(fixture, tenantId);
    const leaving = await joinBoard(fixture, brief);
    const called = Promise.withResolvers<void>();
    await greet(leaving, helloOf(), () => {
      called.resolve();
      return new Promise(() => undefined);
    });
    const answered = relay(fixture, '/relay/rpc', rpcBody(brief, 'sleep', { timeoutMs: 20_000 }));
    await called.promise;
    leaving.cut();
    expect(await answered).toMatchObject({
      status: 409,
      body: { code: 'board-offline', details: { mayHaveRun: true } },
    });
  });

  it('pushes settings to a board that is watched, and acknowledges with the short interval', async () => {
    const watched = await seedBoard(fixture, tenantId);
    const own = await joinBoard(fixture, watched);
    const pushed = Promise.withResolvers<unknown>();
    const hello = helloOf();
    await greet(own, hello, (procedure, { kwargs }) => {
      if (procedure === 'operation.settings') pushed.resolve(kwargs);
    });
    const end = new AbortController();
    const live = await fetch(`${fixture.agents[0]?.relayUrl}/relay/live`, {
      method: 'POST',
      headers: { authorization: `Bearer ${fixture.relayKey}` },
      body: JSON.stringify({ boards: [watched.uuid], tenants: null }),
      signal: end.signal,
    });
    expect(await pushed.promise).toEqual({ batchIntervalMs: 1000 });
    const batch = (from: number) => ({
      epoch: hello.spoolEpoch,
      from,
      streams: [{ name: 'lab/level', type: 'number', unit: 'm' }],
      readings: [[0, 1_700_000_000_000 + from, from]],
    });
    expect(await own.call(agentUris.appendReadings, batch(1))).toEqual({
      ackedSeq: 1,
      batchIntervalMs: 1000,
    });
    let text = '';
    for await (const chunk of live.body ?? []) {
      text += Buffer.from(chunk as Uint8Array).toString('utf8');
      if (text.includes('readings')) break;
    }
    expect(
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toEqual([
      { type: 'beat' },
      {
        type: 'readings',
        tenantId,
        boardUuid: watched.uuid,
        readings: [{ stream: 'lab/level', type: 'number', unit: 'm', at: 1_700_000_000_001, value: 1 }],
      },
    ]);
    end.abort();
    await until('the interval is the usual one', async () => {
      const ack = (await own.call(agentUris.appendReadings, batch(2))) as { batchIntervalMs: number };
      return ack.batchIntervalMs === 5000;
    });
    own.cut();
  });

  it('publishes to services that subscribed', async () => {
    const service = await joinService(fixture, await seedKey(fixture, tenantId));
    const events: unknown[] = [];
    await service.subscribe(`boardwalk.tenant.${tenantId}.`, { match: 'prefix' }, (kwargs) =>
      events.push(kwargs),
    );
    const own = await joinBoard(fixture, await seedBoard(fixture, tenantId));
    await until('the subscription is known', async () => {
      const hello = helloOf();
      await greet(own, hello);
      await own.call(agentUris.appendReadings, {
        epoch: hello.spoolEpoch,
        from: 1,
        streams: [{ name: 'lab/level', type: 'number', unit: 'm' }],
        readings: [[0, 1, 1]],
      });
      return events.length > 0;
    });
    own.cut();
    await until('presence is published', () =>
      events.some((each) => (each as { reason?: string }).reason === 'left'),
    );
    await service.leave();
  });

  it('disconnects a board on demand, and ends its presence when it is revoked', async () => {
    const revoked = await seedBoard(fixture, tenantId);
    const own = await joinBoard(fixture, revoked, { ignoreGoodbye: true });
    const hello = helloOf();
    await greet(own, hello);
    await fixture.sql.query("UPDATE boards SET status = 'revoked' WHERE uuid = ?", [revoked.uuid]);
    const body = { boardUuid: revoked.uuid, reason: 'revoked by an administrator' };
    expect(await relay(fixture, '/relay/disconnect', body)).toMatchObject({ body: { sessions: 1 } });
    await own.ended;
    const [row] = await fixture.rows('SELECT live, end_reason FROM board_sessions WHERE board_uuid = ?', [
      revoked.uuid,
    ]);
    expect(row).toEqual({ live: null, end_reason: 'revoked' });
    // It stays although it was told to go: nothing that it says counts.
    for (const [uri, kwargs] of [
      [agentUris.heartbeat, { sentAt: 1 }],
      [agentUris.hello, hello],
      [agentUris.appendReadings, { epoch: hello.spoolEpoch, from: 1, streams: [], readings: [] }],
    ] as const)
      await expect(own.call(uri, kwargs)).rejects.toMatchObject({ uri: 'boardwalk.error.board_revoked' });
    own.cut();
  });
});
