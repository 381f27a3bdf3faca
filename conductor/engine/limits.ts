/**
 * How much one conductor may have under way. The limits are for all conductors together: each keeps
 * to its part, by how many live. Pure but for the clock that it is given.
 */

export interface LimitSettings {
  /** Boards that are called at a time, by all conductors. */
  inFlight: number;
  inFlightPerTenant: number;
  /** Boards of the drain lane that are taken per second, by all conductors. */
  drainPerSecond: number;
}

export interface Limits {
  /** How many boards of the tenant may be taken now; without one, of all tenants together. */
  free(tenantId?: string): number;
  /** So many more boards stay within the limits, whosever they are. */
  isAmple(boards: number): boolean;
  /** How many boards of the drain lane may be taken now. */
  freeDrain(): number;
  take(board: { tenantId: string; lane: 0 | 1 }): void;
  give(board: { tenantId: string }): void;
  inFlight(): number;
  /** At least 1: this one. */
  setConductors(live: number): void;
  conductors(): number;
}

/** A short burst is no rush: the bucket holds what comes in within this time. */
const bucketSeconds = 0.2;

export function createLimits(settings: LimitSettings, now: () => number = () => performance.now()): Limits {
  const byTenant = new Map<string, number>();
  let total = 0;
  let conductors = 1;
  const part = (limit: number) => Math.max(1, Math.ceil(limit / conductors));
  let tokens = 1;
  let filledAt = now();

  function fill(): void {
    const perSecond = settings.drainPerSecond / conductors;
    const at = now();
    tokens = Math.min(Math.max(1, perSecond * bucketSeconds), tokens + ((at - filledAt) / 1000) * perSecond);
    filledAt = at;
  }

  return {
    free(tenantId) {
      const all = part(settings.inFlight) - total;
      if (tenantId === undefined) return Math.max(0, all);
      const own = part(settings.inFlightPerTenant) - (byTenant.get(tenantId) ?? 0);
      return Math.max(0, Math.min(all, own));
    },
    isAmple: (boards) =>
      total + boards <= Math.min(part(settings.inFlight), part(settings.inFlightPerTenant)),
    freeDrain() {
      fill();
      return Math.floor(tokens);
    },
    take({ tenantId, lane }) {
      total += 1;
      byTenant.set(tenantId, (byTenant.get(tenantId) ?? 0) + 1);
      if (lane === 1) {
        fill();
        tokens -= 1;
      }
    },
    give({ tenantId }) {
      total -= 1;
      const left = (byTenant.get(tenantId) ?? 1) - 1;
      if (left > 0) byTenant.set(tenantId, left);
      else byTenant.delete(tenantId);
    },
    inFlight: () => total,
    setConductors(live) {
      conductors = Math.max(1, live);
    },
    conductors: () => conductors,
  };
}
