/** What becomes of operations whose agent died, by the contract of their procedure. Pure. */
import type { Registry } from '../procedures/registry.ts';
import type { Entry } from './entry.ts';

/** Entries as they go on: `accepted` ones are run, the others have ended. */
export function recover(entries: readonly Entry[], registry: Registry, now: number): Entry[] {
  return entries.map((entry) => recoverOne(entry, registry, now));
}

function recoverOne(entry: Entry, registry: Registry, now: number): Entry {
  if (entry.state === 'accepted') return entry;
  const contract = registry.find(entry.procedure)?.contract;
  const rerun = entry.safety === 'idempotent' && contract?.safety === 'idempotent';
  const ended = { ...entry, endedAt: now };
  if (rerun && entry.cancelRequested) return { ...ended, state: 'cancelled' };
  if (rerun && now < entry.deadlineAt) return { ...entry, state: 'accepted' };
  if (rerun)
    return {
      ...ended,
      state: 'failed',
      error: { code: 'deadline-exceeded', message: 'the agent died, and the deadline has passed since' },
    };
  if (entry.safety === 'journaled' && contract?.onCrash === 'failed')
    return {
      ...ended,
      state: 'failed',
      error: { code: 'interrupted', message: 'the agent died in the middle of it' },
    };
  return { ...ended, state: 'interrupted' };
}
