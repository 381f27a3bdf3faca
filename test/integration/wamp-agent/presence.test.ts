import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
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
import type { RawSession } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;

beforeAll(async () => {
  fixture = await startFixture(2);
  tenantId = await seedTenant(fixture);
});
afterAll(() => fixture?.stop());

/** Two living agents, whatever the test before has killed or started. */
beforeEach(async () => {
  const living = fixture.agents.filter(({ child }) => child.exitCode === null && child.signalCode === null);
  for (const more of living.splice(2)) await more.kill('SIGTERM');
  fixture.agents.splice(0, fixture.agents.length, ...living);
  while (fixture.agents.length < 2) await fixture.startAgent();
});

const statusOf = async ({ uuid }: SeededBoard) =>
  (await fixture.rows('SELECT status FROM boards WHERE uuid = ?', [uuid]))[0]?.status as string;

const reasonsOf = async ({ uuid }: SeededBoard) =>
  (
    await fixture.rows('SELECT end_reason FROM board_sessions WHERE board_uuid = ? ORDER BY started_at', [
      uuid,
    ])
  ).map((row) => row.end_reason as string | null);

async function online(): Promise<{ board: SeededBoard; session: RawSession }> {
  const board = await seedBoard(fixture, tenantId);
  const session = await joinBoard(fixture, board);
  await greet(session);
  return { board, session };
}

describe('presence with two agents', () => {
  it('lets a new session take the place of the old one, whose late end changes nothing', async () => {
    const { board, session } = await online();
    const newer = await joinBoard(fixture, board);
    await greet(newer);
    expect(await session.ended).toBe('boardwalk.close.ended_by_server');
    expect(await reasonsOf(board)).toEqual(['replaced', null]);
    const leave = await online();
    leave.session.cut();
    await until('a later leave was handled', async () => (await statusOf(leave.board)) === 'offline');
    expect(await statusOf(board)).toBe('online');
    expect(await newer.call(agentUris.heartbeat, { sentAt: 1 })).toMatchObject({ helloNeeded: false });
    newer.cut();
    await until('offline', async () => (await statusOf(board)) === 'offline');
  });

  it('keeps what the last hello declared, whichever agent heard it', async () => {
    const { board, session } = await online();
    const modulesOf = (name: string) => [{ name, streams: [] }];
    const declare = (name: string) => session.call(agentUris.hello, helloOf({ modules: modulesOf(name) }));
    const declared = async () =>
      (await fixture.rows('SELECT name FROM modules WHERE board_uuid = ?', [board.uuid])).map(
        (row) => row.name as string,
      );
    // The agents take turns: both have heard of the first, only one of the second.
    for (const name of ['first', 'first', 'second', 'first']) await declare(name);
    expect(await declared()).toEqual(['first']);
    await declare('second');
    const newer = await joinBoard(fixture, board);
    await greet(newer, helloOf({ modules: modulesOf('first') }));
    expect(await declared()).toEqual(['first']);
    newer.cut();
  });

  it('does not hear a replaced session that stays', async () => {
    const board = await seedBoard(fixture, tenantId);
    const old = await joinBoard(fixture, board, { ignoreGoodbye: true });
    const hello = helloOf();
    await greet(old, hello);
    const newer = await joinBoard(fixture, board);
    await greet(newer, hello);
    const batch = { epoch: hello.spoolEpoch, from: 1, streams: [], readings: [] };
    await expect(old.call(agentUris.appendReadings, batch)).rejects.toMatchObject({
      uri: 'wamp.error.not_authorized',
    });
    expect(await old.call(agentUris.heartbeat, { sentAt: 1 })).toMatchObject({ helloNeeded: true });
    expect(await newer.call(agentUris.appendReadings, batch)).toMatchObject({ ackedSeq: 0 });
    old.cut();
    newer.cut();
  });

  it('never leaves a board online that went away during its hello', async () => {
    for (let index = 0; index < 10; index += 1) {
      const board = await seedBoard(fixture, tenantId);
      const session = await joinBoard(fixture, board);
      void session.call(agentUris.hello, helloOf()).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, index));
      session.cut();
      await session.ended;
      await until('not online for longer', async () => {
        const [row] = await fixture.rows(
          'SELECT COUNT(*) AS n FROM board_sessions WHERE board_uuid = ? AND live = 1',
          [board.uuid],
        );
        return Number(row?.n) === 0;
      });
    }
  });

  it('asks for another hello when somebody ended the session in the database', async () => {
    const { board, session } = await online();
    await fixture.sql.query(
      "UPDATE board_sessions SET live = NULL, ended_at = UTC_TIMESTAMP(3), end_reason = 'heartbeat-lapsed' WHERE board_uuid = ?",
      [board.uuid],
    );
    await fixture.sql.query("UPDATE boards SET status = 'offline' WHERE uuid = ?", [board.uuid]);
    await until('hello is needed', async () => {
      const answer = (await session.call(agentUris.heartbeat, { sentAt: 1 })) as { helloNeeded: boolean };
      return answer.helloNeeded;
    });
    await session.call(agentUris.hello, helloOf());
    expect(await statusOf(board)).toBe('online');
    session.cut();
  });

  it('keeps two devices with one key from throwing each other out for ever', async () => {
    const board = await seedBoard(fixture, tenantId);
    let refused: string | undefined;
    const sessions: RawSession[] = [];
    for (let index = 0; index < 9 && refused === undefined; index += 1) {
      const session = await joinBoard(fixture, board);
      sessions.push(session);
      await greet(session).catch((error) => {
        refused = error.uri;
      });
    }
    expect(refused).toBe('boardwalk.error.too_many_requests');
    expect(sessions.length).toBeGreaterThan(5);
    await until('it is audited', async () => {
      const rows = await fixture.rows(
        "SELECT * FROM audit_events WHERE actor = ? AND result = 'too-many-requests'",
        [board.uuid],
      );
      return rows.length === 1;
    });
    for (const each of sessions) each.cut();
  });

  it('goes on with the agent that is left, whichever of them dies', async () => {
    const { board, session } = await online();
    await fixture.agents[0]?.kill('SIGKILL');
    expect(
      await relay(fixture, '/relay/rpc', rpcBody(board, 'echo'), { agent: fixture.agents[1] }),
    ).toMatchObject({ status: 200 });
    expect(await session.call(agentUris.heartbeat, { sentAt: 1 })).toMatchObject({ helloNeeded: false });
    const next = await online();
    session.cut();
    await until('the leave is written', async () => (await statusOf(board)) === 'offline');
    // Leaves that nobody heard are found by the agent that comes.
    await fixture.agents[1]?.kill('SIGKILL');
    next.session.cut();
    await next.session.ended;
    expect(await statusOf(next.board)).toBe('online');
    await fixture.startAgent();
    await until('the list was compared', async () => (await statusOf(next.board)) === 'offline');
    expect(await reasonsOf(next.board)).toEqual(['router-lost']);
  });

  it('comes back by itself after the router was killed, and ends what it held', async () => {
    const boards = await Promise.all(Array.from({ length: 5 }, online));
    fixture.router.kill();
    await Promise.all(boards.map((each) => each.session.ended));
    await until(
      'all sessions ended',
      async () => {
        const [row] = await fixture.rows('SELECT COUNT(*) AS n FROM board_sessions WHERE live = 1');
        return Number(row?.n) === 0;
      },
      { timeoutMs: 30_000 },
    );
    for (const { board } of boards) expect(await reasonsOf(board)).toEqual(['router-lost']);
    const { session } = await online();
    session.cut();
  });

  it('finishes the call in its hands when it is asked to stop', async () => {
    const agent = await fixture.startAgent();
    const board = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, board);
    const called = Promise.withResolvers<void>();
    await greet(session, helloOf(), async () => {
      called.resolve();
      await new Promise((resolve) => setTimeout(resolve, 700));
      return 'done';
    });
    const answered = relay(fixture, '/relay/rpc', rpcBody(board, 'sleep'), { agent });
    await called.promise;
    const stopped = agent.kill('SIGTERM');
    expect(await answered).toMatchObject({ status: 200, body: { result: 'done' } });
    await stopped;
    expect(agent.child.exitCode).toBe(0);
    session.cut();
  });

  it('ends the session of a service whose key was revoked while no agent was there', async () => {
    const key = await seedKey(fixture, tenantId);
    const [kept, ended] = [
      await joinService(fixture, await seedKey(fixture, tenantId)),
      await joinService(fixture, key),
    ];
    await Promise.all(fixture.agents.map((each) => each.kill('SIGKILL')));
    await fixture.sql.query(
      'UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR WHERE id = ?',
      [key.id],
    );
    await fixture.startAgent();
    expect(await ended.ended).toBe('boardwalk.close.ended_by_server');
    await kept.leave();
  });

  it('marks itself as stopped when it is asked to stop', async () => {
    const agent = await fixture.startAgent();
    await fixture.startAgent();
    const { session } = await online();
    // Each of them has something to write at its end.
    for (let beat = 0; beat < 12; beat += 1) await session.call(agentUris.heartbeat, { sentAt: 1 });
    await agent.kill('SIGTERM');
    expect(agent.child.exitCode).toBe(0);
    const [row] = await fixture.rows('SELECT stopped_at, stop_reason FROM wamp_agents WHERE id = ?', [
      agent.id,
    ]);
    expect(row).toEqual({ stopped_at: expect.any(Date), stop_reason: 'stopped' });
    expect(await session.call(agentUris.heartbeat, { sentAt: 1 })).toMatchObject({ helloNeeded: false });
    session.cut();
  });
});
