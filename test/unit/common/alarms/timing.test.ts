import { describe, expect, it } from 'vitest';
import { takeStanding } from '../../../../common/alarms/presence-watch.ts';
import { takeData, takeSilence, watchSilence } from '../../../../common/alarms/silence.ts';
import { takeTime } from '../../../../common/alarms/take-time.ts';
import { freshWatch, takeReadings, type Watch } from '../../../../common/alarms/watch.ts';
import { above, at0, course, rule, second } from './support.ts';

const minute = 60 * second;
const pending = (forSeconds: number, now = at0) =>
  takeReadings(above({ forSeconds }), freshWatch, course([101]), now).watch;

describe('when nothing newer comes', () => {
  it('the last reading holds, and the clock raises the alarm when it is due', () => {
    const criterion = above({ forSeconds: 60 });
    const watch = pending(60);
    expect(watch.dueAt).toBe(at0 + minute);
    expect(takeTime(criterion, watch, at0 + minute - 1).transitions).toEqual([]);
    expect(takeTime(criterion, watch, at0 + minute).transitions).toMatchObject([
      { kind: 'raise', since: at0, by: 'time', reading: { value: 101 } },
    ]);
  });

  it('what is older than the duration and a minute says nothing: only newer readings decide', () => {
    const criterion = above({ forSeconds: 60 });
    const { watch, transitions } = takeTime(criterion, pending(60), at0 + 2 * minute + 1);
    expect(transitions).toEqual([]);
    expect(watch).toMatchObject({ phase: 'pending', dueAt: null });
    const later = at0 + 3 * minute;
    expect(takeReadings(criterion, watch, course([101], later), later)).toMatchObject({
      transitions: [],
      watch: { phase: 'pending', since: later },
    });
  });

  it('the clock waits for the rest of a backlog', () => {
    const criterion = above({ forSeconds: 20 });
    const now = at0 + 50 * second;
    const watch = pending(20, now);
    expect(watch.dueAt).toBe(now + 10 * second);
    const next = takeReadings(criterion, watch, course([99], at0 + second), now + second);
    expect(next).toMatchObject({ watch: { phase: 'ok', dueAt: null }, transitions: [] });
  });

  it('an alarm is cleared by the clock as well', () => {
    const criterion = above({ clearForSeconds: 30 });
    const { watch } = takeReadings(criterion, freshWatch, course([101, 90]), at0 + second);
    expect(watch).toMatchObject({ phase: 'clearing', dueAt: at0 + 31 * second });
    expect(takeTime(criterion, watch, at0 + 31 * second).transitions).toMatchObject([
      { kind: 'clear', by: 'time' },
    ]);
  });

  it('a rate does not go on', () => {
    const criterion = rule({ kind: 'rate', perSecond: 1, direction: 'rising' }, { forSeconds: 10 });
    const { watch } = takeReadings(criterion, freshWatch, course([0, 5]), at0 + second);
    expect(watch).toMatchObject({ phase: 'pending', dueAt: null });
  });
});

describe('noData', () => {
  const criterion = rule({ kind: 'noData' }, { forSeconds: 60 });
  const silent = (): Watch => takeSilence(criterion, watchSilence(criterion, at0), at0 + minute).watch;

  it('is raised when the newest reading is too old, and cleared by the next', () => {
    const { watch } = takeData(criterion, freshWatch, course([1, 2]), at0 + second);
    expect(watch.dueAt).toBe(at0 + 61 * second);
    expect(takeSilence(criterion, watch, at0 + minute).transitions).toEqual([]);
    const step = takeSilence(criterion, watch, at0 + 61 * second);
    expect(step.transitions).toMatchObject([{ kind: 'raise', since: at0 + second, by: 'time' }]);
    const later = at0 + 90 * second;
    expect(takeData(criterion, step.watch, course([3], later), later)).toMatchObject({
      transitions: [{ kind: 'clear' }],
      watch: { phase: 'ok', dueAt: later + minute },
    });
  });

  it('is not cleared by a backlog before that comes to what is fresh', () => {
    const now = at0 + 3_600_000;
    const step = takeData(criterion, silent(), course([1, 2, 3]), now);
    expect(step).toMatchObject({ transitions: [], watch: { phase: 'raised' } });
    expect(takeData(criterion, step.watch, course([4], now - second), now).transitions).toHaveLength(1);
  });

  it('hears a board whose clock is ahead now, not later', () => {
    const { watch } = takeData(criterion, freshWatch, course([1], at0 + 3_600_000), at0);
    expect(watch.dueAt).toBe(at0 + minute);
  });

  it('begins with the newest reading that is stored', () => {
    expect(silent()).toMatchObject({ phase: 'raised', since: at0 });
  });
});

describe('boardOffline', () => {
  const criterion = rule({ kind: 'boardOffline' }, { forSeconds: 300, clearForSeconds: 60 });
  const offline = { is: 'offline', since: at0 } as const;
  const raised = takeStanding(criterion, freshWatch, offline, at0 + 5 * minute).watch;

  it('is raised after the duration, counted from the end of the session', () => {
    const { watch, transitions } = takeStanding(criterion, freshWatch, offline, at0 + minute);
    expect({ watch, transitions }).toMatchObject({
      transitions: [],
      watch: { phase: 'pending', dueAt: at0 + 5 * minute },
    });
    expect(takeStanding(criterion, watch, offline, at0 + 5 * minute).transitions).toMatchObject([
      { kind: 'raise', since: at0 },
    ]);
  });

  it('is forgotten when the board is back in time', () => {
    const { watch } = takeStanding(criterion, freshWatch, offline, at0 + minute);
    const back = takeStanding(criterion, watch, { is: 'online', since: at0 + minute }, at0 + minute);
    expect(back).toEqual({ watch: freshWatch, transitions: [] });
  });

  it('is cleared when the board has been back for long enough', () => {
    const since = at0 + 6 * minute;
    const back = takeStanding(criterion, raised, { is: 'online', since }, since);
    expect(back).toMatchObject({ transitions: [], watch: { phase: 'clearing', dueAt: since + minute } });
    expect(
      takeStanding(criterion, back.watch, { is: 'online', since }, since + minute).transitions,
    ).toHaveLength(1);
    expect(takeStanding(criterion, back.watch, offline, since + 1).watch.phase).toBe('raised');
  });

  it('is cleared at once for a board that is not expected any more', () => {
    expect(
      takeStanding(criterion, raised, { is: 'none', since: 0 }, at0 + 6 * minute).transitions,
    ).toMatchObject([{ kind: 'clear' }]);
  });
});
