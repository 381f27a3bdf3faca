/** Wakes of one turn of the event loop become one request; while it is under way the next ones gather. */
import { wakeLimits } from './messages.ts';

/** Where to look. */
export interface Wake {
  operations?: readonly string[];
  boards?: readonly string[];
}

export interface WakeBatch {
  add(wake: Wake): void;
  /** What has gathered is dropped. */
  stop(): void;
}

/** @param send must not throw */
export function createWakeBatch(
  send: (wake: { operations: string[]; boards: string[] }) => Promise<unknown>,
): WakeBatch {
  let operations = new Set<string>();
  let boards = new Set<string>();
  let next: NodeJS.Immediate | undefined;
  let isSending = false;
  let stopped = false;

  function schedule(): void {
    if (stopped || isSending || next || operations.size + boards.size === 0) return;
    next = setImmediate(() => void flush());
  }

  async function flush(): Promise<void> {
    next = undefined;
    isSending = true;
    const wake = { operations: [...operations], boards: [...boards] };
    operations = new Set();
    boards = new Set();
    await send(wake);
    isSending = false;
    schedule();
  }

  return {
    add(wake) {
      // Whoever looks at so many finds the others beside them.
      for (const each of wake.operations ?? []) if (operations.size < wakeLimits.names) operations.add(each);
      for (const each of wake.boards ?? []) if (boards.size < wakeLimits.names) boards.add(each);
      schedule();
    },
    stop() {
      stopped = true;
      clearImmediate(next);
    },
  };
}
