import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { matchesProcedure } from '../../../common/wamp/procedure-scope.ts';
import { createAttemptLimit } from '../../../wamp-agent/auth/attempt-limit.ts';
import { createJoinGate } from '../../../wamp-agent/auth/join-gate.ts';
import { createJoinMemory } from '../../../wamp-agent/auth/joins.ts';
import { peerAddress } from '../../../wamp-agent/auth/peer-address.ts';

describe('the gate for joins', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('lets a bounded number in, first come first served', async () => {
    const gate = createJoinGate({ places: 2, holdMs: 500 });
    const entered: number[] = [];
    for (const id of [1, 2, 3, 4]) void gate.enter(id).then(() => entered.push(id));
    await vi.advanceTimersByTimeAsync(0);
    expect(entered).toEqual([1, 2]);
    gate.leave(2);
    gate.leave(2);
    await vi.advanceTimersByTimeAsync(0);
    expect(entered).toEqual([1, 2, 3]);
    // A place whose holder says nothing comes free.
    await vi.advanceTimersByTimeAsync(500);
    expect(entered).toEqual([1, 2, 3, 4]);
    await vi.advanceTimersByTimeAsync(500);
    expect(gate.waiting()).toBe(0);
  });

  it('refuses by name when too many wait', async () => {
    const gate = createJoinGate({ places: 1, maxWaiting: 1 });
    await gate.enter(1);
    void gate.enter(2);
    await expect(gate.enter(3)).rejects.toMatchObject({ code: 'too-many-requests' });
  });
});

describe('limits on attempts', () => {
  it('count failures of an address within the window', () => {
    let now = 0;
    const limit = createAttemptLimit({ attempts: 3, windowMs: 60_000, now: () => now });
    for (let index = 0; index < 3; index += 1) {
      expect(limit.retryAfterSeconds('a')).toBe(0);
      limit.count('a');
      now += 1000;
    }
    expect(limit.retryAfterSeconds('a')).toBe(57);
    expect(limit.retryAfterSeconds('b')).toBe(0);
    now = 60_001;
    expect(limit.retryAfterSeconds('a')).toBe(0);
  });
});

describe('where a session comes from', () => {
  const headers = { 'x-forwarded-for': '6.6.6.6, 10.1.2.3' };

  it('is the peer, and the last forwarded address only behind a trusted proxy', () => {
    expect(peerAddress({ peer: 'tcp4:127.0.0.1:48638' }, [])).toBe('127.0.0.1');
    expect(peerAddress({ peer: 'tcp6:[::1]:48638' }, [])).toBe('::1');
    const proxied = { peer: 'tcp4:127.0.0.1:1', http_headers_received: headers };
    expect(peerAddress(proxied, [])).toBe('127.0.0.1');
    expect(peerAddress(proxied, ['127.0.0.1'])).toBe('10.1.2.3');
    expect(
      peerAddress({ ...proxied, http_headers_received: { 'x-forwarded-for': 'junk' } }, ['127.0.0.1']),
    ).toBe('127.0.0.1');
    expect(peerAddress(null, [])).toBeUndefined();
  });
});

describe('what is remembered of a join', () => {
  it('is dropped when one session came with two keys', () => {
    const joins = createJoinMemory();
    joins.remember(1, { credentialId: 'a', address: 'x' });
    expect(joins.find(1)).toEqual({ credentialId: 'a', address: 'x' });
    joins.remember(1, { credentialId: 'b', address: 'x' });
    expect(joins.find(1)).toBeUndefined();
  });
});

describe('the procedures of a key', () => {
  it('are all, or those named, with a star at the end', () => {
    expect(matchesProcedure(null, 'anything')).toBe(true);
    expect(matchesProcedure([], 'echo')).toBe(false);
    expect(matchesProcedure(['echo', 'lab.*'], 'echo')).toBe(true);
    expect(matchesProcedure(['echo', 'lab.*'], 'echo.more')).toBe(false);
    expect(matchesProcedure(['echo', 'lab.*'], 'lab.reset')).toBe(true);
    expect(matchesProcedure(['echo', 'lab.*'], 'lab')).toBe(false);
  });
});
