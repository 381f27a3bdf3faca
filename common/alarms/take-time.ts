/** The server's clock decides, because no newer reading came. Pure. */
import type { Criterion } from './rules.ts';
import { durationMs, holds } from './timing.ts';
import { clear, raise, type Step, type Transition, type Watch } from './watch.ts';

/** What the clock makes of a watch whose `dueAt` has come. */
export function takeTime(rule: Criterion, watch: Watch, now: number): Step {
  const transitions: Transition[] = [];
  const duration = durationMs(rule, watch);
  if (duration === undefined || watch.last === null || watch.dueAt === null)
    return { watch: { ...watch, dueAt: null }, transitions };
  if (now < watch.dueAt) return { watch, transitions };
  if (!holds(watch.last.at, now, duration)) return { watch: { ...watch, dueAt: null }, transitions };
  const moved =
    watch.phase === 'pending'
      ? raise(watch, 'time', watch.last, transitions)
      : clear(watch, 'time', watch.last, transitions);
  return { watch: moved, transitions };
}
