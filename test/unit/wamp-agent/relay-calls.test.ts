import { describe, expect, it } from 'vitest';
import type { RelayCall } from '../../../common/relay/messages.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import type { WampSession } from '../../../common/wamp/typed-session.ts';
import type { BoardDirectory, BoardEntry } from '../../../wamp-agent/boards/directory.ts';
import { createMetrics } from '../../../wamp-agent/metrics.ts';
import { createCallSlots } from '../../../wamp-agent/relay/call-slots.ts';
import { toCallFailure } from '../../../wamp-agent/relay/failures.ts';
import { createRelay, type RelayOptions } from '../../../wamp-agent/relay/rpc.ts';
import { until } from '../../harness/until.ts';

const call: RelayCall = {
  boardUuid: '11111111-1111-4111-8111-111111111111',
  sessionId: '22222222-2222-4222-8222-222222222222',
  procedure: 'ping',
  timeoutMs: 50,
  contractsHash: null,
  requestId: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  caller: { kind: 'user', id: 'u' },
};

describe('what became of a call', () => {
  const noCallee = 'no callee registered for procedure <boardwalk.board.x.ping>';
  it.each([
    ['wamp.error.canceled', 'callee disconnected', 'board-offline', true],
    ['wamp.error.no_such_procedure', noCallee, 'board-offline', false],
    ['wamp.error.no_such_procedure', "this board has no procedure 'ping'", 'procedure-not-found', true],
    ['wamp.error.invalid_argument', 'too hot', 'invalid-arguments', true],
  ])('is told by %s (%s)', (error, message, code, mayHaveRun) => {
    const failure = toCallFailure({ error, args: [message], kwargs: { mayHaveRun: !mayHaveRun } });
    expect(failure).toMatchObject({ code, details: { mayHaveRun } });
  });

  it('is told by what the session itself throws', () => {
    expect(toCallFailure(new AppError('unavailable', 'the link ended'))).toMatchObject({
      code: 'relay-unavailable',
      details: { mayHaveRun: true },
    });
    expect(toCallFailure(new AppError('payload-too-large', 'too large'))).toMatchObject({
      code: 'payload-too-large',
      details: { mayHaveRun: false },
    });
    expect(toCallFailure(new Error('who knows'))).toMatchObject({
      code: 'internal',
      details: { mayHaveRun: true },
    });
  });

  it('needs no word where the procedure itself failed', () => {
    expect(toCallFailure({ error: 'com.acme.dry', args: ['dry'] }).details).toEqual({
      error: 'com.acme.dry',
      message: 'dry',
      details: {},
    });
  });
});

describe('a relayed call that ends without an answer', () => {
  let asked = 0;
  const never = new Promise<never>(() => undefined);

  const directory: BoardDirectory = {
    peek: () => ({ known: false }),
    find: () => never,
    forget: () => undefined,
  };
  const silent = {
    id: 1,
    call: () => {
      asked += 1;
      return never;
    },
  } as unknown as WampSession;

  function relayOf(more: Partial<RelayOptions> = {}) {
    return createRelay({
      cell: 'default',
      session: () => silent,
      directory,
      contracts: { get: async (_board, _hash, name) => ({ name, safety: 'idempotent' }) },
      slots: createCallSlots(2),
      signs: { note: () => undefined, stop: async () => undefined },
      metrics: createMetrics(),
      ...more,
    });
  }

  /** Finds the board in another session than the caller knew, and only when its time is over. */
  const slow: BoardDirectory = {
    ...directory,
    peek: () => ({ known: true, board: undefined }),
    find: () =>
      new Promise((resolve) => {
        const live = { id: 'newer', cell: 'default', wampSession: 1 };
        setTimeout(() => resolve({ live } as BoardEntry), call.timeoutMs + 10);
      }),
  };

  it('at its deadline may have run when the board was asked, and has not before', async () => {
    const late = { code: 'deadline-exceeded' };
    await expect(relayOf().call(call, {})).rejects.toMatchObject({ ...late, details: { mayHaveRun: true } });
    await expect(relayOf({ directory: slow }).call(call, {})).rejects.toMatchObject({
      ...late,
      details: { mayHaveRun: false },
    });
  });

  it('because its caller went away may have run when the board was asked, and has not before', async () => {
    const gone = { code: 'relay-unavailable', message: 'the caller went away' };
    const before = asked;
    const leave = new AbortController();
    const { signal } = leave;
    const pending = relayOf().call({ ...call, timeoutMs: 5000 }, { signal });
    const outcome = expect(pending).rejects.toMatchObject({ ...gone, details: { mayHaveRun: true } });
    await until('the board is asked', () => asked === before + 1);
    leave.abort();
    await outcome;
    await expect(relayOf({ directory: slow }).call(call, { signal })).rejects.toMatchObject({
      ...gone,
      details: { mayHaveRun: false },
    });
  });

  it('because the agent cannot ask its database has not run', async () => {
    const get = () => Promise.reject(new AppError('unavailable', 'the database is away'));
    await expect(relayOf({ contracts: { get } }).call(call, {})).rejects.toMatchObject({
      code: 'unavailable',
      details: { mayHaveRun: false },
    });
  });
});
