import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type BoardSession,
  type BoardSessionOptions,
  createBoardSession,
} from '../../../board-agent/session/board-session.ts';
import { generateKeyPair } from '../../../board-agent/session/cryptosign.ts';
import type { Link, LinkEnd, LinkOptions } from '../../../board-agent/session/link.ts';
import { type Refusal, refusalOf } from '../../../board-agent/session/refusal.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { agentUris } from '../../../common/wamp/uris.ts';
import { createFakeClock, type FakeClock, silent } from './fakes.ts';

const settings = { batchIntervalMs: 5000, heartbeatIntervalMs: 10_000, reconnectSpreadMs: 20_000 };
const keys = generateKeyPair();

let clock: FakeClock;
let joins: { atMs: number; url: string }[];
let links: FakeLink[];
/** What the next joins meet; the last one stays. */
let routers: (Refusal | 'let in')[];
let answerHeartbeat: () => Promise<unknown>;
let routerAlive: boolean;
let session: BoardSession;

interface FakeLink extends Link {
  end(how: LinkEnd): void;
}

beforeEach(() => {
  clock = createFakeClock();
  joins = [];
  links = [];
  routers = ['let in'];
  routerAlive = true;
  answerHeartbeat = async () => ({ serverTime: clock.now() + 1500, helloNeeded: false });
});

function createLink(url: string): FakeLink {
  const ended = Promise.withResolvers<LinkEnd>();
  return {
    url,
    sessionId: links.length + 1,
    ended: ended.promise,
    end: ended.resolve,
    async call(uri, _kwargs, timeoutMs) {
      const answer = uri === agentUris.hello ? Promise.resolve(helloAnswer()) : answerHeartbeat();
      const late = Promise.withResolvers<never>();
      const cancel = clock.after(timeoutMs, () => late.reject(new AppError('deadline-exceeded', 'late')));
      const lost = ended.promise.then(() => {
        throw new AppError('unavailable', 'link ended');
      });
      return Promise.race([answer, late.promise, lost]).finally(cancel);
    },
    registerPrefix: async () => {},
    probe: async () => routerAlive,
    leave: async () => ended.resolve({ kind: 'closed', message: 'goodbye' }),
    drop: (message) => ended.resolve({ kind: 'lost', message }),
  };
}

const helloAnswer = () => ({ serverTime: clock.now(), routerUrls: ['ws://a/'], settings, ackedSeq: 0 });

async function open({ url }: LinkOptions): Promise<Link | Refusal> {
  joins.push({ atMs: clock.monotonicMs(), url });
  const next = (routers.length > 1 ? routers.shift() : routers[0]) ?? 'let in';
  if (next !== 'let in') return next;
  const link = createLink(url);
  links.push(link);
  return link;
}

async function start(options: Partial<BoardSessionOptions> = {}, urls = ['ws://a/']): Promise<void> {
  session = createBoardSession({
    principal: { boardUuid: randomUUID(), realm: 's4t', routerUrls: urls, ...keys, settings },
    helloRequest: () => ({
      agentVersion: '1',
      bootId: 'b',
      connectivity: { kind: 'unknown' },
      procedures: [],
      modules: [],
      spoolEpoch: randomUUID(),
    }),
    onInvocation: async () => null,
    logger: silent,
    clock,
    random: () => 0.5,
    open,
    ...options,
  });
  session.start();
  await clock.advance(1);
}

const lose = () => links.at(-1)?.end({ kind: 'lost', message: 'cut' });

describe('board session on a fake clock', () => {
  it('comes back within the window of the server after a session that has lived', async () => {
    await start();
    expect(session.state().phase).toBe('online');
    await clock.advance(60_000);
    lose();
    await clock.advance(9_900);
    expect(joins).toHaveLength(1);
    await clock.advance(200);
    expect(joins).toHaveLength(2);
    expect(session.state().phase).toBe('online');
  });

  it('does not take a session of a moment for success: the delays go on growing', async () => {
    routers = [...Array(6).fill(refusalOf('wamp.error.no_such_procedure', '')), 'let in'];
    await start({}, ['ws://a/']);
    for (let step = 0; step < 400 && links.length === 0; step += 1) await clock.advance(500);
    expect(session.state().phase).toBe('online');
    const joined = joins.length;
    session.applySettings({ reconnectSpreadMs: 12_000 });
    lose();
    await clock.advance(29_000);
    expect(joins).toHaveLength(joined);
    await clock.advance(2_000);
    expect(joins).toHaveLength(joined + 1);
  });

  it('asks again and again, never less often than each minute', async () => {
    routers = [{ kind: 'unreachable', message: 'no route' }];
    await start();
    await clock.advance(3_600_000);
    const waits = joins.slice(1).map((each, index) => each.atMs - (joins[index]?.atMs ?? 0));
    expect(Math.max(...waits)).toBeLessThanOrEqual(60_000);
    expect(waits.at(-1)).toBe(30_000);
    expect(joins.length).toBeGreaterThan(100);
  });

  it('asks slowly while it is refused, and still gets in when that is healed', async () => {
    routers = [refusalOf('boardwalk.error.board_revoked', 'revoked')];
    await start();
    await clock.advance(300_000);
    expect(joins.length).toBeLessThanOrEqual(6);
    routers = ['let in'];
    await clock.advance(66_000);
    expect(session.state().phase).toBe('online');
  });

  it('goes through its routers in turn', async () => {
    routers = [{ kind: 'unreachable', message: 'down' }];
    await start({}, ['ws://a/', 'ws://b/', 'ws://c/']);
    await clock.advance(120_000);
    expect(new Set(joins.slice(0, 3).map((each) => each.url)).size).toBe(3);
  });

  it('measures round trip and offset', async () => {
    await start();
    expect(session.state().pulse).toMatchObject({ roundTripMs: 0, clockOffsetMs: 1500 });
  });

  it('gives up a link on which neither the server nor the router answers', async () => {
    await start();
    answerHeartbeat = () => new Promise(() => {});
    routerAlive = false;
    await clock.advance(19_000);
    expect(session.state().phase).toBe('online');
    await clock.advance(2_000);
    expect(session.state()).toMatchObject({
      phase: 'waiting',
      lastFailure: { reason: expect.stringContaining('dead') },
    });
  });

  it('keeps a link behind which only the server is slow', async () => {
    await start();
    answerHeartbeat = () => new Promise(() => {});
    await clock.advance(120_000);
    expect(session.state().phase).toBe('online');
    expect(joins).toHaveLength(1);
  });

  it('leaves nothing running when it is stopped, in any phase', async () => {
    await start();
    await session.stop();
    expect(clock.pending()).toEqual([]);

    routers = [{ kind: 'unreachable', message: 'down' }];
    await start();
    expect(session.state().phase).toBe('waiting');
    await session.stop();
    expect(clock.pending()).toEqual([]);
    expect(session.state().phase).toBe('stopped');
  });
});

describe('reasons of a refused join', () => {
  it.each([
    ['wamp.error.no_such_procedure', 'not-yet'],
    ['wamp.error.canceled', 'not-yet'],
    ['wamp.error.runtime_error', 'not-yet'],
    ['boardwalk.error.unavailable', 'not-yet'],
    ['boardwalk.error.too_many_requests', 'not-yet'],
    ['boardwalk.error.board_revoked', 'refused'],
    ['boardwalk.error.enrolment_code_used', 'refused'],
    ['wamp.error.not_authorized', 'refused'],
    ['wamp.error.authentication_failed', 'refused'],
    ['wamp.error.no_such_realm', 'refused'],
  ] as const)('%s is %s', (uri, kind) => {
    expect(refusalOf(uri, 'because')).toMatchObject({ kind, message: 'because' });
  });
});
