/** Counts failures by address, or attempts by board, within a sliding window; bounded, whoever fills it. */
export interface AttemptLimit {
  /** Seconds until another try is welcome; 0 = now. */
  retryAfterSeconds(key: string): number;
  count(key: string): void;
}

export interface AttemptLimitOptions {
  attempts: number;
  windowMs: number;
  now?: () => number;
}

const maxKeys = 10_000;

export function createAttemptLimit({
  attempts,
  windowMs,
  now = () => performance.now(),
}: AttemptLimitOptions): AttemptLimit {
  const failures = new Map<string, number[]>();

  function recent(key: string): number[] {
    const kept = (failures.get(key) ?? []).filter((at) => now() - at < windowMs);
    if (kept.length === 0) failures.delete(key);
    return kept;
  }

  return {
    retryAfterSeconds(key) {
      const kept = recent(key);
      const oldest = kept.at(-attempts);
      return oldest === undefined ? 0 : Math.max(1, Math.ceil((oldest + windowMs - now()) / 1000));
    },
    count(key) {
      const kept = [...recent(key), now()].slice(-attempts);
      failures.delete(key);
      failures.set(key, kept);
      if (failures.size <= maxKeys) return;
      for (const oldest of failures.keys()) {
        failures.delete(oldest);
        break;
      }
    },
  };
}
