import { describe, expect, it } from 'vitest';
import type { Criterion } from '../../../../common/alarms/rules.ts';
import type { WatchedReading } from '../../../../common/alarms/signals.ts';
import {
  freshWatch,
  type Step,
  type Transition,
  takeReadings,
  type Watch,
} from '../../../../common/alarms/watch.ts';
import { above, at0, course, createRandom, divide, randomCourse, rule, second } from './support.ts';

function run(criterion: Criterion, readings: readonly WatchedReading[], from: Watch = freshWatch): Step {
  return takeReadings(criterion, from, readings, readings.at(-1)?.at ?? at0);
}
const told = ({ transitions }: Step) =>
  transitions.map(({ kind, reading }) => `${kind} ${String(reading?.value)}`);

describe('conditions', () => {
  it.each<[string, Criterion, (number | boolean | string)[], string[]]>([
    ['above', above(), [100, 101, 100], ['raise 101', 'clear 100']],
    ['below', rule({ kind: 'below', threshold: 5 }), [5, 4, 5], ['raise 4', 'clear 5']],
    [
      'outside',
      rule({ kind: 'outside', low: 1, high: 3 }),
      [1, 0, 3, 4, 2],
      ['raise 0', 'clear 3', 'raise 4', 'clear 2'],
    ],
    [
      'rising',
      rule({ kind: 'rate', perSecond: 2, direction: 'rising' }),
      [0, 2, 5, 0],
      ['raise 5', 'clear 0'],
    ],
    [
      'falling',
      rule({ kind: 'rate', perSecond: 2, direction: 'falling' }),
      [0, 9, 5, 4],
      ['raise 5', 'clear 4'],
    ],
    [
      'either',
      rule({ kind: 'rate', perSecond: 2, direction: 'either' }),
      [0, 9, 9, 5],
      ['raise 9', 'clear 9', 'raise 5'],
    ],
    [
      'equals a text',
      rule({ kind: 'equals', value: 'fault' }),
      ['ok', 'fault', 'ok'],
      ['raise fault', 'clear ok'],
    ],
    ['equals a boolean', rule({ kind: 'equals', value: true }), [false, true, 0], ['raise true', 'clear 0']],
    ['a boolean as 1', rule({ kind: 'above', threshold: 0.5 }), [false, true], ['raise true']],
    ['texts are no numbers', above(), [101, 'x', 100], ['raise 101', 'clear 100']],
  ])('%s', (_name, criterion, values, expected) => {
    expect(told(run(criterion, course(values)))).toEqual(expected);
  });

  it('a rate is per second, whatever lies between two readings', () => {
    const fast = rule({ kind: 'rate', perSecond: 1, direction: 'rising' });
    const slowly = [0, 10].map((value, index) => ({ at: at0 + index * 60 * second, value }));
    expect(told(run(fast, slowly))).toEqual([]);
    const atOnce = [0, 10].map((value) => ({ at: at0, value }));
    expect(told(run(fast, atOnce))).toEqual([]);
  });
});

describe('durations', () => {
  it('count from the first bad reading, on measured times', () => {
    const steady = above({ forSeconds: 3 });
    const step = run(steady, course([101, 101, 101, 101]));
    expect(step.transitions).toMatchObject([
      { kind: 'raise', since: at0, reading: { at: at0 + 3 * second } },
    ]);
    expect(run(steady, course([101, 101, 101])).watch).toMatchObject({
      phase: 'pending',
      dueAt: at0 + 3 * second,
    });
  });

  it('begin again after any reading that is not bad', () => {
    expect(
      told(run(above({ forSeconds: 3, hysteresis: 10 }), course([101, 101, 99, 101, 101, 101]))),
    ).toEqual([]);
  });

  it('take the earlier of two readings as holding until the later one, up to a minute more than asked for', () => {
    const apart = (seconds: number) =>
      [101, 101].map((value, index) => ({ at: at0 + index * seconds * second, value }));
    expect(told(run(above({ forSeconds: 60 }), apart(120)))).toEqual(['raise 101']);
    expect(run(above({ forSeconds: 60 }), apart(121))).toMatchObject({
      transitions: [],
      watch: { phase: 'pending', since: at0 + 121 * second },
    });
  });

  it('of clearing begin again after any reading that is not good', () => {
    const calm = above({ clearForSeconds: 2, hysteresis: 5 });
    expect(told(run(calm, course([101, 95, 96, 95, 95, 95])))).toEqual(['raise 101', 'clear 95']);
    expect(run(calm, course([101, 95, 96, 95])).watch.phase).toBe('clearing');
  });
});

describe('hysteresis', () => {
  it('neither raises nor clears between the limits', () => {
    const values = [98, 101, 99, 101, 96, 100, 95, 99, 101];
    expect(told(run(above({ hysteresis: 5 }), course(values)))).toEqual([
      'raise 101',
      'clear 95',
      'raise 101',
    ]);
  });

  it('makes one alarm of a value that trembles at the threshold', () => {
    const values = Array.from({ length: 200 }, (_, index) => 100 + (index % 2 === 0 ? 1 : -1));
    expect(told(run(above({ hysteresis: 2 }), course(values)))).toEqual(['raise 101']);
    expect(run(above(), course(values)).transitions).toHaveLength(200);
  });
});

describe('the peak', () => {
  it('is the worst value since it was bad, and begins anew with the next alarm', () => {
    const { transitions } = run(above({ forSeconds: 1 }), course([103, 107, 105, 110, 100, 101, 102]));
    expect(transitions.map(({ kind, peak }) => [kind, peak])).toEqual([
      ['raise', 107],
      ['clear', 110],
      ['raise', 102],
    ]);
  });

  it('is the farthest of both sides', () => {
    const { watch } = run(rule({ kind: 'outside', low: 0, high: 10 }), course([11, -5, 14]));
    expect(watch).toMatchObject({ peak: -5, peakAt: at0 + second });
  });
});

describe('restarts', () => {
  const criteria: Criterion[] = [
    above(),
    above({ forSeconds: 7, hysteresis: 3 }),
    above({ forSeconds: 2, clearForSeconds: 9 }),
    rule({ kind: 'outside', low: 93, high: 104 }, { forSeconds: 4, hysteresis: 1, clearForSeconds: 3 }),
    rule({ kind: 'rate', perSecond: 1.5, direction: 'either' }, { hysteresis: 0.5 }),
  ];

  it('change nothing: any division of a course into calls gives the same alarms', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const random = createRandom(seed);
      const readings = randomCourse(random, 60);
      for (const criterion of criteria) {
        const whole = run(criterion, readings);
        let watch = freshWatch;
        const transitions: Transition[] = [];
        for (const piece of divide(readings, random)) {
          // As it comes back from the database.
          const step = run(criterion, piece, JSON.parse(JSON.stringify(watch)) as Watch);
          watch = step.watch;
          transitions.push(...step.transitions);
        }
        expect({ transitions, watch: { ...watch, dueAt: 0 } }, `seed ${seed}`).toEqual({
          transitions: whole.transitions,
          watch: { ...whole.watch, dueAt: 0 },
        });
      }
    }
  });

  it('raise and clear in turn, and never twice the same', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const readings = randomCourse(createRandom(seed), 80);
      for (const criterion of criteria) {
        const kinds = run(criterion, readings).transitions.map(({ kind }) => kind);
        expect(kinds, `seed ${seed}`).toEqual(kinds.map((_, index) => (index % 2 === 0 ? 'raise' : 'clear')));
      }
    }
  });
});
