/**
 * How often boards say that they live. The wamp-agent tells the boards; the conductor judges their
 * silence by the same rule.
 */

/** A heartbeat costs the router about a millisecond; a cell spends at most a tenth of it on them. */
const heartbeatsPerSecond = 100;

/** @param boards online boards of the cell */
export function heartbeatIntervalMs(boards: number, minimumMs: number): number {
  return Math.max(minimumMs, Math.ceil((boards / heartbeatsPerSecond) * 1000));
}

/** Heartbeats may be lost or late, and are written to the database in batches. */
export function heartbeatLapseMs(boards: number, minimumMs: number): number {
  return 3 * heartbeatIntervalMs(boards, minimumMs) + 10_000;
}
