/** One after the other for each name; who gives up while waiting leaves the row. */
export function createTurns() {
  const last = new Map<string, Promise<void>>();

  return {
    /** Rejects with the signal's reason when its turn does not come before that. */
    async take<T>(name: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
      const before = last.get(name) ?? Promise.resolve();
      const mine = Promise.withResolvers<void>();
      const tail = before.then(() => mine.promise);
      last.set(name, tail);
      try {
        await untilAborted(before, signal);
        return await work();
      } finally {
        mine.resolve();
        void tail.then(() => {
          if (last.get(name) === tail) last.delete(name);
        });
      }
    },
  };
}

function untilAborted(wait: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void wait.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
  });
}
