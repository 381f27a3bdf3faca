/** How many messages of one device were let in over the last ten seconds. Ten counters, no more. */

const seconds = 10;

export interface Rate {
  /** Seconds until one more fits beside `pending` that are not counted yet; 0 when it does. */
  waitSeconds(nowMs: number, maxPerSecond: number, pending?: number): number;
  count(nowMs: number, messages?: number): void;
}

export function createRate(): Rate {
  const counts = new Uint32Array(seconds);
  let latest = Number.NEGATIVE_INFINITY;

  /** Forgets the seconds that are over. */
  function moveTo(nowMs: number): number {
    const now = Math.floor(nowMs / 1000);
    if (now - latest >= seconds) counts.fill(0);
    else for (let each = latest + 1; each <= now; each += 1) counts[each % seconds] = 0;
    latest = Math.max(latest, now);
    return latest;
  }

  return {
    waitSeconds(nowMs, maxPerSecond, pending = 0) {
      const now = moveTo(nowMs);
      const most = maxPerSecond * seconds;
      let sum = counts.reduce((total, each) => total + each, pending);
      for (let wait = 0; ; wait += 1) {
        if (sum < most || wait === seconds) return wait;
        sum -= counts[(now + 1 + wait) % seconds] ?? 0;
      }
    },
    count(nowMs, messages = 1) {
      const now = moveTo(nowMs);
      counts[now % seconds] = (counts[now % seconds] ?? 0) + messages;
    },
  };
}
