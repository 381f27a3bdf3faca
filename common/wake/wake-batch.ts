/** Wakes of one turn of the event loop become one request; while it is under way the next ones gather. */
import { wakeLimits } from './messages.ts';

const subjects = ['operations', 'boards', 'consumers'] as const;
type Subject = (typeof subjects)[number];

/** Where to look. */
export type Wake = { [S in Subject]?: readonly string[] };

export interface WakeBatch {
  add(wake: Wake): void;
  /** What has gathered is dropped. */
  stop(): void;
}

type Gathered = Record<Subject, Set<string>>;
const nothing = (): Gathered => ({ operations: new Set(), boards: new Set(), consumers: new Set() });

/** @param send must not throw */
export function createWakeBatch(send: (wake: { [S in Subject]?: string[] }) => Promise<unknown>): WakeBatch {
  let gathered = nothing();
  let next: NodeJS.Immediate | undefined;
  let isSending = false;
  let stopped = false;

  function schedule(): void {
    if (stopped || isSending || next || subjects.every((each) => gathered[each].size === 0)) return;
    next = setImmediate(() => void flush());
  }

  async function flush(): Promise<void> {
    next = undefined;
    isSending = true;
    const wake = Object.fromEntries(
      subjects.filter((each) => gathered[each].size > 0).map((each) => [each, [...gathered[each]]]),
    );
    gathered = nothing();
    await send(wake);
    isSending = false;
    schedule();
  }

  return {
    add(wake) {
      // Whoever looks at so many finds the others beside them.
      for (const subject of subjects)
        for (const each of wake[subject] ?? [])
          if (gathered[subject].size < wakeLimits.names) gathered[subject].add(each);
      schedule();
    },
    stop() {
      stopped = true;
      clearImmediate(next);
    },
  };
}
