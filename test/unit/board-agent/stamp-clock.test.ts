import { expect, it } from 'vitest';
import { createServerClock } from '../../../board-agent/server-clock.ts';
import { createStampClock } from '../../../board-agent/stamp-clock.ts';
import { createFakeClock, silent } from './fakes.ts';

const dayMs = 86_400_000;

it('dates by the host’s clock, and by the server’s from the moment that the host’s jumps away', async () => {
  const host = createFakeClock(1000);
  const server = createServerClock(host);
  const warned: object[] = [];
  const clock = createStampClock(host, server, { ...silent, warn: (fields) => void warned.push(fields) });
  expect(clock.now()).toBe(1000);
  const right = Date.UTC(2026, 10, 28);
  host.set(right);
  expect(clock.now()).toBe(right);
  // A little beside it is nobody's fault.
  server.observe(right + 5000);
  expect(clock.now()).toBe(right);
  for (const jumpMs of [dayMs, -dayMs]) {
    host.set(right + jumpMs);
    expect(clock.now()).toBe(right + 5000);
    await host.advance(2000);
    expect(clock.now()).toBe(right + 5000 + 2000);
    host.set(right);
    server.observe(right + 5000);
    expect(clock.now()).toBe(right);
  }
  expect(warned).toEqual([{ aheadMs: dayMs - 5000 }, { aheadMs: -dayMs - 5000 }]);
});

it('does not go to and fro at the limit', () => {
  const host = createFakeClock(0);
  const server = createServerClock(host);
  const clock = createStampClock(host, server, silent);
  server.observe(60_000);
  expect(clock.now()).toBe(60_000);
  server.observe(59_000);
  expect(clock.now()).toBe(59_000);
  server.observe(29_000);
  expect(clock.now()).toBe(0);
  server.observe(59_000);
  expect(clock.now()).toBe(0);
});
