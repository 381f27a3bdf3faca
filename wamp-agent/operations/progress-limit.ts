/** At most one write per target and second, or longer: progress that comes quicker is dropped. */
export interface ProgressLimit {
  /** Whether this one may be written. */
  take(key: string): boolean;
}

const maxRemembered = 20_000;

export function createProgressLimit(
  now: () => number = () => performance.now(),
  intervalMs = 1000,
): ProgressLimit {
  const lastAt = new Map<string, number>();

  /** A Map keeps the order of insertion: the oldest are in front. */
  function forgetOld(at: number): void {
    for (const [key, takenAt] of lastAt) {
      if (at - takenAt < intervalMs) break;
      lastAt.delete(key);
    }
  }

  return {
    take(key) {
      const at = now();
      forgetOld(at);
      if (lastAt.has(key) || lastAt.size >= maxRemembered) return false;
      lastAt.set(key, at);
      return true;
    },
  };
}
