import { describe, expect, it } from 'vitest';
import type { Rollout, WaveCounts } from '../../../../common/db/queries/rollouts.ts';
import type { RolloutOptions } from '../../../../common/operations/rollout.ts';
import { decideRollout } from '../../../../conductor/rollouts/decide-rollout.ts';

const now = Date.parse('2026-11-25T12:00:00Z');

function rollout(values: Partial<Rollout> = {}, options: Partial<RolloutOptions> = {}): Rollout {
  return {
    operationId: 'a',
    tenantId: 't',
    state: 'running',
    waves: 2,
    wave: 1,
    released: 0,
    releasedAt: null,
    version: 1,
    ...values,
    options: { waves: [{ count: 10 }, { count: 1 }], successPercent: 100, approval: 'none', ...options },
  };
}

const counts = (wave: number, values: Partial<WaveCounts>): WaveCounts => ({
  wave,
  held: 0,
  open: 0,
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  ...values,
});
const untouched = counts(2, { held: 20 });

describe('a rollout', () => {
  it('opens its first wave', () => {
    const waves = [counts(1, { held: 10 }), untouched];
    expect(decideRollout(rollout({ wave: 0 }), waves, now)).toEqual({ do: 'open', wave: 1 });
  });

  it.each(['start', 'each-wave'] as const)('waits for approval before it (%s)', (approval) => {
    const waves = [counts(1, { held: 10 }), untouched];
    expect(decideRollout(rollout({ wave: 0 }, { approval }), waves, now)).toEqual({
      do: 'wait',
      reason: 'wave 1 of 2 waits for approval',
    });
  });

  it('lets the open wave in, all of it or as its rate allows', () => {
    const waves = [counts(1, { held: 10 }), untouched];
    expect(decideRollout(rollout(), waves, now)).toEqual({
      do: 'release',
      release: { count: 10, releasedAt: now },
    });
    const slow = { rate: { perMinute: 60 } };
    expect(decideRollout(rollout({}, slow), waves, now)).toMatchObject({ release: { count: 1 } });
    const releasedAt = new Date(now - 500);
    expect(decideRollout(rollout({ releasedAt }, slow), waves, now)).toEqual({ do: 'nothing' });
  });

  it('waits while the wave is under way', () => {
    const waves = [counts(1, { open: 1, succeeded: 9 }), untouched];
    expect(decideRollout(rollout(), waves, now)).toEqual({ do: 'nothing' });
  });

  it('opens the next wave when this one has its share of successes', () => {
    const waves = [counts(1, { succeeded: 9, failed: 1 }), untouched];
    const step = decideRollout(rollout({}, { successPercent: 90 }), waves, now);
    expect(step).toEqual({ do: 'open', wave: 2 });
    expect(decideRollout(rollout({}, { successPercent: 90, approval: 'each-wave' }), waves, now)).toEqual({
      do: 'wait',
      reason: 'wave 2 of 2 waits for approval',
    });
    expect(decideRollout(rollout({}, { successPercent: 90, approval: 'start' }), waves, now)).toEqual(step);
  });

  it('pauses with the reason when too few succeeded', () => {
    const waves = [counts(1, { succeeded: 2, failed: 1 }), untouched];
    expect(decideRollout(rollout(), waves, now)).toEqual({
      do: 'pause',
      reason: 'in wave 1 of 2, 2 of 3 succeeded (66.7 %, at least 100 % are asked for)',
    });
  });

  it('counts cancelled targets neither way', () => {
    expect(decideRollout(rollout(), [counts(1, { succeeded: 1, cancelled: 9 }), untouched], now)).toEqual({
      do: 'open',
      wave: 2,
    });
    expect(decideRollout(rollout(), [counts(1, { cancelled: 10 }), untouched], now)).toEqual({
      do: 'open',
      wave: 2,
    });
  });

  it('is given up when too many failed, and not before enough ended', () => {
    const options = { abort: { failedPercent: 50, afterEnded: 4 } };
    const few = [counts(1, { held: 6, open: 1, succeeded: 1, failed: 2 }), untouched];
    expect(decideRollout(rollout({}, options), few, now).do).toBe('release');
    const enough = [counts(1, { held: 6, succeeded: 2, failed: 2 }), untouched];
    expect(decideRollout(rollout({}, options), enough, now)).toEqual({
      do: 'abort',
      reason: '2 of 4 failed (50 %, it is given up at 50 %)',
    });
  });

  it.each(['paused', 'waiting'] as const)('does nothing while it is %s', (state) => {
    const waves = [counts(1, { held: 10 }), untouched];
    expect(decideRollout(rollout({ state }), waves, now)).toEqual({ do: 'nothing' });
  });

  it.each(['running', 'paused', 'waiting'] as const)(
    'finishes when all ended, also while it is %s',
    (state) => {
      const waves = [counts(1, { succeeded: 10 }), counts(2, { failed: 1 })];
      expect(decideRollout(rollout({ state, wave: 2 }), waves, now)).toEqual({ do: 'finish' });
    },
  );

  it('lets the last wave end as it may', () => {
    const waves = [counts(1, { succeeded: 10 }), counts(2, { failed: 19, open: 1 })];
    expect(decideRollout(rollout({ wave: 2 }), waves, now)).toEqual({ do: 'nothing' });
  });
});
