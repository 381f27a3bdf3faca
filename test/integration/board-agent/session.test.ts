import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  type BoardSession,
  type BoardSessionOptions,
  createBoardSession,
} from '../../../board-agent/session/board-session.ts';
import { generateKeyPair } from '../../../board-agent/session/cryptosign.ts';
import type { Invocation } from '../../../board-agent/session/link.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { type FaultyProxy, startFaultyProxy } from '../../harness/faulty-proxy.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, silent, startStandIn } from './stand-in.ts';

let router: TestCrossbar;
let server: StandIn;
const sessions: BoardSession[] = [];
const proxies: FaultyProxy[] = [];

beforeAll(async () => {
  router = await startCrossbar();
  server = await startStandIn(router);
});

afterEach(async () => {
  await Promise.all(sessions.splice(0).map((each) => each.stop()));
  await Promise.all(proxies.splice(0).map((each) => each.close()));
  server.hellos.length = 0;
});

afterAll(async () => {
  server?.stop();
  await router?.stop();
});

function startBoard(options: Partial<BoardSessionOptions> & { urls?: string[]; known?: boolean } = {}) {
  const boardUuid = randomUUID();
  const keys = generateKeyPair();
  if (options.known ?? true) server.publicKeys.set(boardUuid, keys.publicKey);
  const session = createBoardSession({
    principal: {
      boardUuid,
      realm: router.realm,
      routerUrls: options.urls ?? [router.url],
      ...keys,
      settings: server.settings,
    },
    helloRequest: () => ({
      agentVersion: '0.1.0',
      bootId: 'boot',
      connectivity: { kind: 'unknown' },
      procedures: [],
      modules: [],
      spoolEpoch: randomUUID(),
    }),
    onInvocation: async () => null,
    logger: silent,
    ...options,
  });
  sessions.push(session);
  session.start();
  return { session, boardUuid };
}

const online = (session: BoardSession) => until('online', () => session.state().phase === 'online');

describe('a board session at a real router', () => {
  it('joins by cryptosign, says hello and measures round trip and clock offset', async () => {
    const { session } = startBoard();
    await online(session);
    expect(server.hellos).toHaveLength(1);
    const pulse = await until('a heartbeat', () => session.state().pulse);
    expect(pulse.roundTripMs).toBeLessThan(1000);
    expect(Math.abs(pulse.clockOffsetMs)).toBeLessThan(500);
  });

  it('hands an invocation on with its procedure, caller and trace, and the kwargs untouched', async () => {
    const seen: Invocation[] = [];
    const { session, boardUuid } = startBoard({
      onInvocation: async (invocation) => {
        seen.push(invocation);
        return { ok: true };
      },
    });
    await online(session);
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const uri = `boardwalk.board.${boardUuid}.hv.set`;
    expect(await server.call(uri, { volts: 3 }, { transaction_hash: trace })).toEqual({ ok: true });
    expect(seen[0]).toMatchObject({ uri, args: [], kwargs: { volts: 3 }, callerRole: 'agent', trace });
  });

  it('sends progress to a caller that wants it, and only the result to others', async () => {
    const { session, boardUuid } = startBoard({
      onInvocation: async ({ progress }) => {
        progress?.({ percent: 50 });
        return 'done';
      },
    });
    await online(session);
    const uri = `boardwalk.board.${boardUuid}.x`;
    const seen: unknown[] = [];
    const result = await server.session
      .call(uri, [], {}, { receive_progress: true })
      .then(undefined, undefined, (value) => seen.push(value));
    expect({ result, seen }).toEqual({ result: 'done', seen: [{ percent: 50 }] });
    expect(await server.call(uri)).toBe('done');
  });

  it('is not let in with the key of another board', async () => {
    const { session, boardUuid } = startBoard({ known: false });
    server.publicKeys.set(boardUuid, generateKeyPair().publicKey);
    const failure = await until('a refusal', () => session.state().lastFailure);
    expect(failure.reason).toMatch(/wrong key|not known/);
    expect(session.state().phase).toBe('waiting');
  });

  it('answers a failure by its code, message and details', async () => {
    const { session, boardUuid } = startBoard({
      onInvocation: async () => {
        throw new AppError('too-many-calls', 'busy', { details: { limit: 16 } });
      },
    });
    await online(session);
    await expect(server.call(`boardwalk.board.${boardUuid}.x`)).rejects.toMatchObject({
      error: 'boardwalk.error.too_many_calls',
      args: ['busy'],
      kwargs: { limit: 16 },
    });
  });

  it('comes back by itself after the router closed its session', async () => {
    const { session, boardUuid } = startBoard();
    await online(session);
    const first = session.state().sessionId;
    await server.killBoard(boardUuid);
    await until('another session', () => {
      const state = session.state();
      return state.phase === 'online' && state.sessionId !== first;
    });
  });

  it('fails pending calls and comes back when the link is cut', async () => {
    const proxy = await startFaultyProxy({ port: router.port });
    proxies.push(proxy);
    const { session } = startBoard({ urls: [proxy.url], onHello: () => {} });
    await online(session);
    server.beforeAppend = () => new Promise(() => {});
    const pending = session.call(
      'appendReadings',
      { epoch: randomUUID(), from: 1, streams: [], readings: [] },
      30_000,
    );
    const failed = expect(pending).rejects.toMatchObject({ code: 'unavailable' });
    proxy.cut();
    await failed;
    server.beforeAppend = () => {};
    await online(session);
  });

  it('says hello again when the server asks for it', async () => {
    const { session } = startBoard();
    await online(session);
    server.helloNeeded = true;
    await until('a second hello', () => server.hellos.length === 2);
  });

  it('is refused by name when the board is revoked, and gets in with a renewed key', async () => {
    const renewed = generateKeyPair();
    let principal: ReturnType<NonNullable<BoardSessionOptions['renewPrincipal']>>;
    const { session, boardUuid } = startBoard({ known: false, renewPrincipal: () => principal });
    const failure = await until('a refusal', () => session.state().lastFailure);
    expect(failure.reason).toContain('not known');
    expect(session.state().phase).toBe('waiting');
    await session.stop();

    server.publicKeys.set(boardUuid, renewed.publicKey);
    const second = startBoard({ known: false, renewPrincipal: () => principal });
    server.publicKeys.set(second.boardUuid, renewed.publicKey);
    principal = {
      boardUuid: second.boardUuid,
      realm: router.realm,
      routerUrls: [router.url],
      ...renewed,
      settings: server.settings,
    };
    await online(second.session);
  });

  it('tries the next router when one is unreachable', async () => {
    const { session } = startBoard({ urls: ['ws://127.0.0.1:1/', router.url] });
    await online(session);
  });

  it('finds a half-open link from its side', { timeout: 40_000 }, async () => {
    const proxy = await startFaultyProxy({ port: router.port });
    proxies.push(proxy);
    const { session } = startBoard({ urls: [proxy.url] });
    await online(session);
    proxy.setMode('freeze');
    const state = await until('the link is given up', () => session.state().lastFailure, {
      timeoutMs: 20_000,
    });
    expect(state.reason).toContain('dead');
    proxy.setMode('pass');
    await until('online again', () => session.state().phase === 'online', { timeoutMs: 20_000 });
  });

  it('leaves the realm when stopped', async () => {
    const { session, boardUuid } = startBoard();
    await online(session);
    await session.stop();
    expect(session.state().phase).toBe('stopped');
    await expect(server.call(`boardwalk.board.${boardUuid}.ping`)).rejects.toMatchObject({
      error: 'wamp.error.no_such_procedure',
    });
  });
});
