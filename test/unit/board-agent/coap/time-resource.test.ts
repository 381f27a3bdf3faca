import { describe, expect, it } from 'vitest';
import { createConfirmable } from '../../../../board-agent/sources/coap/confirmable.ts';
import { findUint, parseMessage, uintValue } from '../../../../board-agent/sources/coap/packet.ts';
import { createTimeResource, observerLimits } from '../../../../board-agent/sources/coap/time-resource.ts';
import { createFakeClock } from '../fakes.ts';
import { createPeer, type FakePeer, option, requestOf } from './support.ts';

function setUp() {
  const clock = createFakeClock();
  const confirmable = createConfirmable({ clock, random: () => 0 });
  const time = createTimeResource({ clock, confirmable, now: () => clock.now() + 5000, intervalMs: 1000 });
  const get = (peer: FakePeer, observe?: number, token = 't', accept = 0) =>
    time.get(
      requestOf(
        {
          code: '0.01',
          token: Buffer.from(token),
          options: [
            option('Accept', uintValue(accept)),
            ...(observe === undefined ? [] : [option('Observe', uintValue(observe))]),
          ],
        },
        peer,
      ),
    );
  const acknowledge = (peer: FakePeer, type: 'acknowledged' | 'reset' = 'acknowledged') =>
    confirmable.settle(peer, parseMessage(peer.bytes.at(-1) ?? Buffer.alloc(0)).messageId, type);
  return { clock, time, get, acknowledge };
}

describe('the resource time', () => {
  it('gives the time of the server, as text and as JSON, and nothing else', () => {
    const { get } = setUp();
    expect(get(createPeer()).payload?.toString()).toBe('2026-01-01T00:00:05.000Z');
    const json = JSON.parse(get(createPeer(), undefined, 't', 50).payload?.toString() ?? '') as unknown;
    expect(json).toEqual({ time: '2026-01-01T00:00:05.000Z', epochMs: Date.UTC(2026, 0, 1) + 5000 });
    expect(get(createPeer(), undefined, 't', 60)).toEqual({ code: '4.06' });
  });

  it('tells observers each second, with numbers that rise', async () => {
    const { clock, get, acknowledge } = setUp();
    const peer = createPeer();
    expect(findUint({ options: get(peer, 0).options ?? [] }, 'Observe')).toBeDefined();
    for (let second = 0; second < 3; second += 1) {
      await clock.advance(1000);
      acknowledge(peer);
    }
    const told = peer.messages();
    expect(told.map((each) => each.payload.toString().slice(17, 19))).toEqual(['06', '07', '08']);
    const numbers = told.map((each) => findUint(each, 'Observe') ?? 0);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(3);
  });

  it('drops an observer that resets, goes, or answers nothing', async () => {
    const { clock, time, get, acknowledge } = setUp();
    const [resets, goes, silent] = [createPeer('a'), createPeer('b'), createPeer('c')];
    for (const each of [resets, goes, silent]) get(each, 0);
    get(goes, 1);
    await clock.advance(1000);
    acknowledge(resets, 'reset');
    await clock.advance(0);
    expect(time.observers()).toBe(1);
    await clock.advance(100_000);
    expect(time.observers()).toBe(0);
    // One notification, transmitted five times.
    expect(silent.bytes).toHaveLength(5);
    expect(clock.pending()).toEqual([]);
  });

  it('has a bounded number of observers; more are answered once', () => {
    const { time, get } = setUp();
    for (let index = 0; index < 10; index += 1) get(createPeer(), 0, `t${index}`);
    expect(time.observers()).toBe(observerLimits.perPeer);
    for (let index = 0; index < 100; index += 1) get(createPeer(`peer ${index}`), 0);
    expect(time.observers()).toBe(observerLimits.all);
    const answer = get(createPeer('one more'), 0);
    expect(answer.code).toBe('2.05');
    expect(findUint({ options: answer.options ?? [] }, 'Observe')).toBeUndefined();
  });
});
