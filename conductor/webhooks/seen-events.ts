/** Events that this process has dealt with: they come again with each look, and need no statement then. */
export interface SeenEvents {
  has(id: number): boolean;
  add(event: { id: number; at: number }): void;
  /** @param at epoch milliseconds */
  forgetBefore(at: number): void;
}

const most = 200_000;

export function createSeenEvents(): SeenEvents {
  const seen = new Map<number, number>();
  return {
    has: (id) => seen.has(id),
    add({ id, at }) {
      // Forgetting costs statements, no more.
      if (seen.size >= most) seen.clear();
      seen.set(id, at);
    },
    forgetBefore(limit) {
      for (const [id, at] of seen) if (at < limit) seen.delete(id);
    },
  };
}
