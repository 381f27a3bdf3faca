/** `wait` of a creation: the answer is held until the operation has ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../../common/db/database.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { AwaitedOperation, WakeClient } from '../../common/wake/wake-client.ts';

export const longestWaitMs = 60_000;
/** A conductor tells at once; this is for when none can be asked. */
const pollMs = 1000;

/** From `5s` or `800ms`; undefined for no time at all. Throws AppError `invalid-request` for more than a minute. */
export function parseWait(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = text.endsWith('ms') ? Number(text.slice(0, -2)) : Number(text.slice(0, -1)) * 1000;
  if (ms === 0) return undefined;
  if (ms <= longestWaitMs) return ms;
  throw new AppError('invalid-request', 'wait must be at most 60s', {
    details: { errors: [{ parameter: 'query.wait', detail: 'must be at most 60s' }] },
  });
}

export interface WaitParts {
  database: Database;
  wake: WakeClient;
  /** Aborted when the process is asked to stop. */
  stopping: AbortSignal;
}

/** Until the operation has ended, `timeoutMs` have passed, or `signal` says that nobody waits any more. */
export async function waitForEnd(
  { database, wake, stopping }: WaitParts,
  operation: AwaitedOperation,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const stop = AbortSignal.any([signal, stopping, over.signal]);
  const endsAt = performance.now() + timeoutMs;

  async function poll(): Promise<void> {
    for (;;) {
      const leftMs = endsAt - performance.now();
      if (leftMs <= 0 || stop.aborted) return;
      // Rejects only when stopped, which the loop's condition sees.
      await sleep(Math.min(pollMs, leftMs), undefined, { signal: stop }).catch(() => undefined);
      if (stop.aborted || (await hasEnded(database, operation.id))) return;
    }
  }

  const polled = poll();
  const told = wake.waitForEnd(operation, timeoutMs, stop).then((ended) => (ended ? undefined : polled));
  try {
    await Promise.race([told, polled]);
  } finally {
    over.abort();
    await Promise.allSettled([told, polled]);
  }
}

async function hasEnded(database: Database, operationId: string): Promise<boolean> {
  const rows = (await database.read((manager) =>
    manager.query("SELECT 1 FROM operations WHERE id = ? AND state IN ('preparing', 'active')", [
      operationId,
    ]),
  )) as unknown[];
  return rows.length === 0;
}
