import { describe, expect, it } from 'vitest';
import { createBoardBackoff } from '../../../../conductor/engine/board-backoff.ts';
import { createLimits } from '../../../../conductor/engine/limits.ts';

const settings = { inFlight: 10, inFlightPerTenant: 4, drainPerSecond: 50 };
const of = (tenantId: string, lane: 0 | 1 = 0) => ({ tenantId, lane });

describe('the limits', () => {
  it('hold for all together and for each tenant', () => {
    const limits = createLimits(settings);
    for (let count = 0; count < 4; count += 1) limits.take(of('a'));
    expect([limits.free(), limits.free('a'), limits.free('b')]).toEqual([6, 0, 4]);
    for (const tenant of ['b', 'b', 'b', 'c', 'c']) limits.take(of(tenant));
    expect([limits.free(), limits.free('b'), limits.free('d')]).toEqual([1, 1, 1]);
    limits.give(of('a'));
    expect([limits.free(), limits.free('a'), limits.inFlight()]).toEqual([2, 1, 8]);
  });

  it('are shared by the conductors that live', () => {
    const limits = createLimits(settings);
    limits.setConductors(3);
    expect([limits.free(), limits.free('a')]).toEqual([4, 2]);
    limits.setConductors(0);
    expect(limits.free()).toBe(10);
  });

  it('let the drain lane through at its rate, and no faster after a rest', () => {
    let at = 0;
    const limits = createLimits(settings, () => at);
    let taken = 0;
    const take = () => {
      for (; limits.freeDrain() > 0; taken += 1) {
        limits.take(of('a', 1));
        limits.give(of('a'));
      }
    };
    for (; at < 10_000; at += 7) take();
    expect(taken).toBeGreaterThan(490);
    expect(taken).toBeLessThanOrEqual(511);
    at += 60_000;
    taken = 0;
    take();
    expect(taken).toBe(10);
  });

  it('share the drain rate as well', () => {
    let at = 0;
    const limits = createLimits(settings, () => at);
    limits.setConductors(5);
    let taken = 0;
    for (; at < 10_000; at += 50) for (; limits.freeDrain() > 0; taken += 1) limits.take(of(`${taken}`, 1));
    expect(taken).toBeGreaterThan(97);
    expect(taken).toBeLessThanOrEqual(103);
  });
});

describe('the rest after failures', () => {
  it('grows to a minute, is forgotten by a success, and is each board of its own', () => {
    const backoff = createBoardBackoff(() => 1 - Number.EPSILON);
    const rests = Array.from({ length: 9 }, () => backoff.next('a'));
    expect(rests.slice(0, 3)).toEqual([699, 1199, 2199]);
    expect(rests.at(-1)).toBe(60_199);
    expect(backoff.next('b')).toBe(699);
    backoff.reset('a');
    expect(backoff.next('a')).toBe(699);
  });
});
