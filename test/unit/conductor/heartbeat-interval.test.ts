import { describe, expect, it } from 'vitest';
import { heartbeatIntervalMs, heartbeatLapseMs } from '../../../common/wamp/heartbeat-interval.ts';

describe('the interval of heartbeats', () => {
  it('is the one that is set until a cell has many boards', () => {
    expect(heartbeatIntervalMs(1, 10_000)).toBe(10_000);
    expect(heartbeatIntervalMs(1000, 10_000)).toBe(10_000);
    expect(heartbeatIntervalMs(10_000, 10_000)).toBe(100_000);
  });

  it('may be missed three times before a session ends', () => {
    expect(heartbeatLapseMs(1, 10_000)).toBeGreaterThan(3 * heartbeatIntervalMs(1, 10_000));
  });
});
