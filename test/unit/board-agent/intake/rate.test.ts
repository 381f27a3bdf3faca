import { afterEach, describe, expect, it } from 'vitest';
import { createRate } from '../../../../board-agent/intake/rate.ts';
import { type Bench, createBench, reading, statuses } from './support.ts';

describe('the rate of a device', () => {
  it('is the mean of ten seconds, and says how long to wait', () => {
    const rate = createRate();
    for (let second = 0; second < 10; second += 1) {
      expect(rate.waitSeconds(second * 1000, 2)).toBe(0);
      rate.count(second * 1000, 2);
    }
    expect(rate.waitSeconds(9500, 2)).toBe(1);
    expect(rate.waitSeconds(10_000, 2)).toBe(0);
    rate.count(10_000, 2);
    expect(rate.waitSeconds(10_000, 2)).toBe(1);
    expect(rate.waitSeconds(100_000, 2)).toBe(0);
    rate.count(100_000, 20);
    expect(rate.waitSeconds(100_000, 2)).toBe(10);
    expect(rate.waitSeconds(104_000, 2)).toBe(6);
    expect(rate.waitSeconds(100_000, 2, 100)).toBe(10);
  });
});

describe('a device that sends too much', () => {
  let bench: Bench;
  afterEach(() => bench.close());

  it('is refused above its share, and the others are not', async () => {
    bench = createBench({ maxPerSecond: 5 }, { ownerOf: () => 'field' });
    const results = { flood: [] as string[], calm: [] as string[] };
    for (let second = 0; second < 30; second += 1) {
      const take = (name: string, count: number) =>
        statuses(Array.from({ length: count }, () => bench.door.take(reading(name, undefined, { v: 1 }))));
      const [flood, calm] = await Promise.all([take('flood', 50), take('calm', 5)]);
      results.flood.push(...flood);
      results.calm.push(...calm);
      await bench.clock.advance(1000);
    }
    expect(new Set(results.calm)).toEqual(new Set(['stored']));
    const stored = results.flood.filter((each) => each === 'stored').length;
    expect(stored).toBe(150);
    expect(results.flood.filter((each) => each === 'refused')).toHaveLength(1500 - stored);
    expect(await bench.door.take(reading('flood', undefined, { v: 1 }))).toMatchObject({ status: 'stored' });
    expect(bench.intake.modules(['flood'])).toMatchObject([{ received: 151, refused: 1350 }]);
    expect(bench.intake.sources()).toMatchObject([{ received: 1651, stored: 301, rejected: 1350 }]);
  });

  it('is held to its share while somebody has to decide about it, too', async () => {
    bench = createBench({ maxPerSecond: 5 });
    const take = () => bench.door.take(reading('stranger', undefined, { v: 1 }));
    const results = await statuses(Array.from({ length: 60 }, take));
    expect(results.filter((each) => each === 'held')).toHaveLength(50);
    expect(results.filter((each) => each === 'refused')).toHaveLength(10);
    expect(bench.intake.sources()).toMatchObject([{ received: 60, waiting: 50, rejected: 10 }]);
  });

  it('hears how long to wait', async () => {
    bench = createBench({ maxPerSecond: 1 }, { ownerOf: () => 'field' });
    const take = () => bench.door.take(reading('n1', undefined, { v: 1 }));
    for (let count = 0; count < 10; count += 1) await take();
    expect(await take()).toMatchObject({ status: 'refused', reason: 'too-fast', retryAfterSeconds: 10 });
  });
});
