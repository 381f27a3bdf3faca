import { describe, expect, it } from 'vitest';
import { reviewedReadings, reviewRun, reviewWindow, splitLate } from '../../../../common/alarms/late.ts';
import type { Criterion } from '../../../../common/alarms/rules.ts';
import type { WatchedReading } from '../../../../common/alarms/signals.ts';
import { freshWatch, type Transition, takeReadings, type Watch } from '../../../../common/alarms/watch.ts';
import { above, at0, course, createRandom, divide, randomCourse, rule, second, shuffle } from './support.ts';

/** A stream with its stored readings, watched as the conductor does. */
function createStream(criterion: Criterion) {
  const stored: WatchedReading[] = [];
  const transitions: Transition[] = [];
  let watch: Watch = freshWatch;
  return {
    transitions,
    watch: () => watch,
    add(
      readings: readonly WatchedReading[],
      now = Math.max(...readings.map(({ at }) => at), watch.last?.at ?? 0),
    ) {
      stored.push(...readings);
      stored.sort((left, right) => left.at - right.at);
      const { late, inOrder } = splitLate(watch, readings, now);
      const window = reviewWindow(criterion, watch, late);
      if (window) {
        const before = stored.filter(({ at }) => at < window.from).slice(-1);
        const within = stored.filter(({ at }) => at >= window.from && at <= window.to);
        const step = reviewRun(criterion, watch, {
          stored: [...before, ...within].slice(-reviewedReadings),
          late,
          now,
        });
        watch = step.watch;
        transitions.push(...step.transitions);
      }
      const step = takeReadings(criterion, watch, inOrder, now);
      watch = step.watch;
      transitions.push(...step.transitions);
    },
  };
}

describe('a late reading', () => {
  it('neither raises what is over nor clears what still is', () => {
    const stream = createStream(above());
    stream.add(course([99], at0 + 60 * second));
    stream.add(course([120, 130]));
    expect(stream.watch().phase).toBe('ok');
    stream.add(course([101], at0 + 70 * second));
    stream.add(course([90], at0 + 65 * second));
    expect(stream.transitions.map(({ kind }) => kind)).toEqual(['raise']);
    expect(stream.watch().phase).toBe('raised');
  });

  it('that was not bad makes what is pending begin later', () => {
    const stream = createStream(above({ forSeconds: 10 }));
    stream.add([0, 8].map((seconds) => ({ at: at0 + seconds * second, value: 101 })));
    stream.add([{ at: at0 + 4 * second, value: 99 }]);
    expect(stream.watch()).toMatchObject({ phase: 'pending', since: at0 + 8 * second });
    stream.add([{ at: at0 + 12 * second, value: 101 }]);
    expect(stream.transitions).toEqual([]);
    stream.add([{ at: at0 + 18 * second, value: 101 }]);
    expect(stream.transitions).toMatchObject([{ kind: 'raise', since: at0 + 8 * second }]);
  });

  it('that was bad makes what is pending begin earlier, and raises when that is long enough ago', () => {
    const stream = createStream(above({ forSeconds: 10 }));
    stream.add([{ at: at0 + 20 * second, value: 101 }]);
    stream.add([{ at: at0 + 12 * second, value: 105 }]);
    expect(stream.watch()).toMatchObject({ phase: 'pending', since: at0 + 12 * second, peak: 105 });
    stream.add([{ at: at0 + 9 * second, value: 101 }]);
    expect(stream.transitions).toMatchObject([
      { kind: 'raise', since: at0 + 9 * second, by: 'late-reading' },
    ]);
  });

  it('that was not good keeps an alarm from being cleared', () => {
    const stream = createStream(above({ clearForSeconds: 10 }));
    stream.add([
      { at: at0, value: 101 },
      ...[2, 8].map((seconds) => ({ at: at0 + seconds * second, value: 90 })),
    ]);
    expect(stream.watch().phase).toBe('clearing');
    stream.add([{ at: at0 + 5 * second, value: 101 }]);
    expect(stream.watch()).toMatchObject({ phase: 'clearing', since: at0 + 8 * second });
    stream.add([{ at: at0 + 13 * second, value: 90 }]);
    expect(stream.watch().phase).toBe('clearing');
    stream.add([{ at: at0 + 18 * second, value: 90 }]);
    expect(stream.transitions.map(({ kind }) => kind)).toEqual(['raise', 'clear']);
  });

  it('changes the rate of the newest', () => {
    const stream = createStream(rule({ kind: 'rate', perSecond: 5, direction: 'rising' }));
    stream.add([
      { at: at0, value: 0 },
      { at: at0 + 10 * second, value: 20 },
    ]);
    expect(stream.watch().phase).toBe('ok');
    stream.add([{ at: at0 + 9 * second, value: 0 }]);
    expect(stream.transitions).toMatchObject([{ kind: 'raise', by: 'late-reading' }]);
  });

  it('far in the future is taken as measured now, and what comes after it is not late', () => {
    const stream = createStream(above({ forSeconds: 5 }));
    stream.add([{ at: at0 + 3_600_000, value: 101 }], at0);
    expect(stream.watch()).toMatchObject({ since: at0, last: { at: at0 } });
    stream.add([{ at: at0 + second, value: 99 }], at0 + second);
    expect(stream.watch().phase).toBe('ok');
  });

  it('leaves the known beginning of a run that is longer than what is looked at', () => {
    const stored = course(
      Array.from({ length: reviewedReadings }, () => 101),
      at0 + 500 * second,
    );
    const last = stored.at(-1) as WatchedReading;
    const watch: Watch = { ...freshWatch, phase: 'pending', since: at0, last, peak: 101, peakAt: at0 };
    const patient = above({ forSeconds: 86_400 });
    const review = (late: WatchedReading) =>
      reviewRun(patient, watch, { stored, late: [late], now: last.at }).watch.since;
    expect(review({ at: at0 + 100 * second, value: 101 })).toBe(at0);
    expect(review({ at: at0 + 100 * second, value: 99 })).toBe(at0 + 500 * second);
  });
});

/** Most readings come in order; some pieces are held back and come later. */
function holdBack(
  readings: readonly WatchedReading[],
  random: (below: number) => number,
): WatchedReading[][] {
  const pieces = divide(readings, random);
  const held: WatchedReading[][] = [];
  const order: WatchedReading[][] = [];
  for (const piece of pieces) {
    if (random(3) < 1) held.push(piece);
    else order.push(piece);
    if (held.length > 0 && random(3) < 1) order.push(...shuffle(held.splice(0), random));
  }
  return [...order, ...held];
}

describe('readings in any order', () => {
  const criteria: Criterion[] = [
    above(),
    above({ forSeconds: 8 }),
    above({ forSeconds: 15 }),
    rule({ kind: 'outside', low: 94, high: 103 }, { forSeconds: 10 }),
  ];

  it('miss nothing that holds at the end, and raise nothing that never was so', () => {
    let lateOnes = 0;
    for (let seed = 1; seed <= 400; seed += 1) {
      const random = createRandom(seed);
      const readings = randomCourse(random, 50);
      for (const criterion of criteria) {
        const inOrder = takeReadings(criterion, freshWatch, readings, 0);
        const stream = createStream(criterion);
        for (const piece of holdBack(readings, random)) {
          if ((piece[0]?.at ?? 0) < (stream.watch().last?.at ?? 0)) lateOnes += 1;
          stream.add(piece);
        }
        const { phase, since } = stream.watch();
        const expected = inOrder.watch;
        // Raised before the reading came that would have prevented it: it stays until what is newest is good.
        const isEarly = phase === 'raised' && expected.phase === 'pending';
        if (!isEarly) expect(phase, `seed ${seed}`).toBe(expected.phase);
        if (phase === 'pending') expect(since, `seed ${seed}`).toBe(expected.since);
        const kinds = stream.transitions.map(({ kind }) => kind);
        expect(kinds).toEqual(kinds.map((_, index) => (index % 2 === 0 ? 'raise' : 'clear')));
      }
    }
    expect(lateOnes).toBeGreaterThan(1000);
  });

  it('of another day change nothing', () => {
    for (let seed = 1; seed <= 100; seed += 1) {
      const random = createRandom(seed);
      const readings = randomCourse(random, 40);
      const past = randomCourse(random, 100).map(({ value, at }) => ({ value, at: at - 86_400_000 }));
      const criterion = above({ forSeconds: 5, hysteresis: 2, clearForSeconds: 3 });
      const stream = createStream(criterion);
      const plain = createStream(criterion);
      for (const piece of divide(readings, random)) {
        stream.add(piece);
        plain.add(piece);
        stream.add(past.splice(0, 2));
      }
      expect(stream.transitions, `seed ${seed}`).toEqual(plain.transitions);
    }
  });
});
