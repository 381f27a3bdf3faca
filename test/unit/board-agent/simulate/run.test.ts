import { describe, expect, it } from 'vitest';
import { parseDuration } from '../../../../board-agent/commands/simulate.ts';
import { forEachLimited, type Load } from '../../../../board-agent/simulate/load.ts';
import { formatResult, runLoad } from '../../../../board-agent/simulate/run.ts';

interface Fake extends Load {
  perDevice: number[];
}

/** Acknowledges and stores all but some. */
function createFake(devices: number, faults: { lose?: number; room?: number; refuse?: number } = {}): Fake {
  const { lose = 0, room = Number.POSITIVE_INFINITY, refuse = 0 } = faults;
  const perDevice = Array.from({ length: devices }, () => 0);
  const sent = () => perDevice.reduce((total, each) => total + each, 0);
  return {
    devices,
    perDevice,
    counts: () => ({ sent: sent(), acknowledged: sent() - refuse, refused: refuse, unavailable: 0 }),
    send(device) {
      perDevice[device] = (perDevice[device] ?? 0) + 1;
    },
    hasRoom: () => sent() < room,
    drain: async () => undefined,
    countStored: async () => sent() - refuse - lose,
    findDifferences: async () => ['device 1: something'],
    close: async () => undefined,
  };
}

const options = () => ({
  rate: 50,
  forMs: 400,
  patienceMs: 300,
  signal: new AbortController().signal,
  progress: () => undefined,
});

describe('a run of a load', () => {
  it('sends exactly what the rate asks for, evenly', async () => {
    const load = createFake(7);
    const result = await runLoad(load, options());
    expect(load.perDevice).toEqual([20, 20, 20, 20, 20, 20, 20]);
    expect(result).toMatchObject({
      planned: 140,
      sent: 140,
      acknowledged: 140,
      stored: 140,
      equal: true,
      differences: [],
    });
    expect(formatResult(result)).toMatch(/^sent 140 \(.*\/s\), acknowledged 140, stored 140: equal$/);
  });

  it('says what differs when not all was stored', async () => {
    const result = await runLoad(createFake(2, { lose: 1 }), options());
    expect(result).toMatchObject({ sent: 40, acknowledged: 40, stored: 39, equal: false });
    expect(formatResult(result)).toContain('stored 39: not equal\n  device 1: something');
  });

  it('is not equal when some was refused', async () => {
    const result = await runLoad(createFake(2, { refuse: 3 }), options());
    expect(result).toMatchObject({ sent: 40, acknowledged: 37, stored: 37, refused: 3, equal: false });
    expect(formatResult(result)).toContain('refused 3');
  });

  it('says that the rate could not be kept', async () => {
    const result = await runLoad(createFake(2, { room: 5 }), options());
    expect(result).toMatchObject({ planned: 40, sent: 5, equal: true });
    expect(formatResult(result)).toContain('planned were 40');
  });

  it('ends with the totals of what was sent when it is stopped', async () => {
    const stop = new AbortController();
    const load = createFake(1);
    const running = runLoad(load, { ...options(), forMs: 60_000, signal: stop.signal });
    setTimeout(() => stop.abort(), 100);
    const result = await running;
    expect(result.equal).toBe(true);
    expect(result.sent).toBeLessThan(200);
    expect(result.seconds).toBeLessThan(5);
  });
});

describe('small parts', () => {
  it('works on a few at a time, and fails with the first failure', async () => {
    let now = 0;
    let most = 0;
    await forEachLimited([1, 2, 3, 4, 5, 6], 2, async () => {
      now += 1;
      most = Math.max(most, now);
      await Promise.resolve();
      now -= 1;
    });
    expect(most).toBe(2);
    await expect(forEachLimited([1], 2, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['7', 7000],
  ])('reads %s', (text, ms) => expect(parseDuration(text)).toBe(ms));

  it.each(['', '0s', '-1s', '5d', '1e9', '200h', 's'])('refuses the time %j', (text) => {
    expect(() => parseDuration(text)).toThrow('a time is like 30s');
  });
});
