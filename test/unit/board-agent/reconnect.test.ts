import { describe, expect, it } from 'vitest';
import { createReconnectPolicy } from '../../../board-agent/session/reconnect.ts';
import { shuffled } from '../../../common/runtime/shuffled.ts';

const almostOne = () => 0.999999;

describe('reconnect policy', () => {
  it('doubles the ceiling of the delay up to a minute', () => {
    const policy = createReconnectPolicy(almostOne);
    const delays = Array.from({ length: 9 }, () => policy.delayAfter({ outcome: 'failed' }, 20_000));
    expect(delays).toEqual([999, 1999, 3999, 7999, 15_999, 31_999, 59_999, 59_999, 59_999]);
  });

  it('asks at least every 5 s in a small cell, which a few boards may', () => {
    const policy = createReconnectPolicy(almostOne);
    const delays = Array.from({ length: 6 }, () => policy.delayAfter({ outcome: 'failed' }, 1000));
    expect(delays).toEqual([999, 1999, 3999, 4999, 4999, 4999]);
  });

  it('uses the whole range below the ceiling', () => {
    expect(createReconnectPolicy(() => 0).delayAfter({ outcome: 'failed' }, 0)).toBe(0);
  });

  it('spreads the first delay after a lost session over the window of the server', () => {
    const policy = createReconnectPolicy(() => 0.5);
    expect(policy.delayAfter({ outcome: 'established', livedMs: 60_000 }, 20_000)).toBe(10_000);
  });

  it('begins anew only after a session that has lived', () => {
    const policy = createReconnectPolicy(almostOne);
    for (let index = 0; index < 5; index += 1) policy.delayAfter({ outcome: 'failed' }, 0);
    expect(policy.delayAfter({ outcome: 'established', livedMs: 29_000 }, 20_000)).toBe(31_999);
    expect(policy.delayAfter({ outcome: 'established', livedMs: 31_000 }, 100)).toBe(99);
    expect(policy.delayAfter({ outcome: 'failed' }, 100)).toBe(999);
  });

  it('asks about once a minute when it is refused', () => {
    expect(createReconnectPolicy(() => 0).delayAfter({ outcome: 'refused' }, 0)).toBe(54_000);
    expect(createReconnectPolicy(almostOne).delayAfter({ outcome: 'refused' }, 0)).toBe(66_000);
  });

  it('obeys the server when it asks for more patience', () => {
    const policy = createReconnectPolicy(() => 0);
    expect(policy.delayAfter({ outcome: 'failed', retryAfterMs: 5000 }, 0)).toBe(5000);
  });

  it('shuffles without losing or repeating', () => {
    const items = ['a', 'b', 'c', 'd'];
    expect(shuffled(items, () => 0)).not.toEqual(items);
    expect([...shuffled(items)].sort()).toEqual(items);
  });
});
