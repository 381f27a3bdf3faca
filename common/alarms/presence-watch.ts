/** `boardOffline`: how a board stands is known, not measured: it holds until it changes. Pure. */
import type { Criterion } from './rules.ts';
import { atRest, clear, raise, type Step, type Transition, type Watch } from './watch.ts';

export interface BoardStanding {
  /** `none`: never enrolled, revoked, or gone: it is neither expected nor missing. */
  is: 'online' | 'offline' | 'none';
  /** Since when, epoch milliseconds of the database's clock. */
  since: number;
}

export function takeStanding(rule: Criterion, watch: Watch, standing: BoardStanding, now: number): Step {
  const transitions: Transition[] = [];
  const isOpen = watch.phase === 'raised' || watch.phase === 'clearing';
  const done = (moved: Watch): Step => ({ watch: moved, transitions });
  if (standing.is === 'offline') {
    if (isOpen) return done({ ...watch, phase: 'raised', dueAt: null });
    const pending: Watch = { ...watch, phase: 'pending', since: standing.since };
    const dueAt = standing.since + rule.forSeconds * 1000;
    return done(now < dueAt ? { ...pending, dueAt } : raise(pending, 'presence', null, transitions));
  }
  if (!isOpen) return done(atRest(watch));
  const clearing: Watch = { ...watch, phase: 'clearing', since: standing.since };
  const dueAt = standing.since + rule.clearForSeconds * 1000;
  if (standing.is === 'online' && now < dueAt) return done({ ...clearing, dueAt });
  return done(clear(clearing, 'presence', null, transitions));
}
