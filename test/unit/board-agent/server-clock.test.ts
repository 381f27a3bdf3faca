import { describe, expect, it } from 'vitest';
import { createServerClock } from '../../../board-agent/server-clock.ts';
import { createFakeClock } from './fakes.ts';

describe('the server’s clock on the board', () => {
  it('is the host’s until the server was heard, and then goes on by itself', async () => {
    const clock = createFakeClock(1000);
    const server = createServerClock(clock);
    expect(server.now()).toBe(1000);
    server.observe(500_000);
    await clock.advance(2000);
    clock.set(99);
    expect(server.now()).toBe(502_000);
  });

  it('goes on while the host sleeps', async () => {
    const clock = createFakeClock(1000);
    const server = createServerClock(clock);
    await clock.advance(5000);
    server.observe(500_000);
    clock.sleep(3_600_000);
    await clock.advance(2000);
    expect(server.now()).toBe(4_102_000);
    server.observe(9_000_000);
    await clock.advance(2000);
    expect(server.now()).toBe(9_002_000);
  });

  it('is put forward by what is past for certain, but not for a little', () => {
    const clock = createFakeClock(1000);
    const server = createServerClock(clock);
    server.observeAtLeast(500_000);
    expect(server.now()).toBe(500_000);
    server.observeAtLeast(501_000);
    expect(server.now()).toBe(500_000);
    server.observeAtLeast(400_000);
    expect(server.now()).toBe(500_000);
    server.observeAtLeast(600_000);
    expect(server.now()).toBe(600_000);
  });

  it('calls at a time, however far, also when it is corrected on the way, and not when cancelled', async () => {
    const clock = createFakeClock();
    const server = createServerClock(clock);
    const called: string[] = [];
    const start = server.now();
    server.at(start + 40 * 86_400_000, () => called.push('far'));
    server.at(start + 300_000, () => called.push('near'));
    server.at(start + 1000, () => called.push('never'))();
    server.at(start - 1, () => called.push('past'));
    await clock.advance(0);
    expect(called).toEqual(['past']);
    expect(Math.max(...clock.pending())).toBeLessThanOrEqual(60_000);
    await clock.advance(10_000);
    server.observe(start + 300_000);
    await clock.advance(60_000);
    expect(called).toEqual(['past', 'near']);
    server.observe(start + 40 * 86_400_000);
    await clock.advance(60_000);
    expect(called).toEqual(['past', 'near', 'far']);
    expect(clock.pending()).toEqual([]);
  });
});
