import { describe, expect, it } from 'vitest';
import {
  type Counts,
  createSequence,
  takeNumber,
  windowSize,
} from '../../../../board-agent/intake/sequence.ts';

const zero = (): Counts => ({ received: 0, duplicate: 0, missed: 0, late: 0, restarted: 0 });
const hashOf = (content: string): [number, number] => [content.length, content.charCodeAt(0)];

/** `5` = number 5 with a content of its own; `5b` = with another content. */
function run(numbers: (number | string)[], signed = false) {
  const state = createSequence();
  const counts = zero();
  const fresh = numbers.filter((each) => {
    const seq = Number.parseInt(String(each), 10);
    const content = String(each).endsWith('b') ? 'b' : 'a';
    return takeNumber(state, counts, { seq, hash: hashOf(content), signed });
  });
  return { ...counts, last: state.last, fresh };
}

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

describe('the numbers of a device', () => {
  it.each([
    ['in order', [1, 2, 3], { received: 3, last: 3 }],
    ['beginning anywhere', [100, 101], { received: 2, last: 101 }],
    ['repeated', [1, 2, 2, 1, 2], { received: 2, duplicate: 3 }],
    ['with a gap', [1, 5], { received: 2, missed: 3, last: 5 }],
    ['with a gap that is filled late', [1, 5, 3, 2, 4], { received: 5, missed: 0, late: 3, last: 5 }],
    ['late and repeated', [1, 3, 2, 2], { received: 3, late: 1, duplicate: 1, missed: 0 }],
    ['earlier than the first', [10, 9], { received: 2, late: 1, missed: 0, last: 10 }],
    [
      'counting anew from far above',
      [...upTo(100), 1, 2],
      { received: 102, restarted: 1, missed: 0, last: 2 },
    ],
    [
      'counting anew within the window, with another content',
      [1, 2, 3, '1b', '2b'],
      { received: 5, restarted: 1, last: 2, duplicate: 0 },
    ],
    [
      'counting anew and going on over the old ones',
      [1, 2, 3, '1b', '2b', '3b', '4b'],
      { received: 7, restarted: 1, duplicate: 0, missed: 0 },
    ],
    ['at the far edge of the window', [1, windowSize, 1], { received: 2, duplicate: 1, missed: 62 }],
    ['just below the window', [1, windowSize + 1, 1], { received: 3, restarted: 1, last: 1, missed: 63 }],
    ['jumping further than the window', [1, 1000, 999], { received: 3, missed: 997, late: 1 }],
    ['zero', [0, 1, 0], { received: 2, duplicate: 1 }],
    [
      'as high as they can be',
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
      { received: 1, duplicate: 1 },
    ],
  ])('%s', (_what, numbers, expected) => {
    expect(run(numbers)).toMatchObject({ missed: 0, late: 0, restarted: 0, duplicate: 0, ...expected });
  });

  it.each([
    ['repeated with another content', [1, 2, '2b'], { received: 2, duplicate: 1 }],
    ['from far above', [...upTo(100), 1, 2], { received: 100, duplicate: 2, restarted: 0 }],
    ['late', [1, 3, 2], { received: 3, late: 1, missed: 0 }],
  ])('of a device that signs, %s', (_what, numbers, expected) => {
    expect(run(numbers, true)).toMatchObject({ restarted: 0, ...expected });
  });

  it('agrees with a model that remembers everything, whatever comes', () => {
    for (let seed = 1; seed <= 20; seed += 1) compareWithModel(seed);
  });
});

interface Life {
  floor: number;
  last: number;
  seen: Map<number, number>;
}

/** One life of the device after the other; what is missed is counted at the end. */
function createModel(signed: boolean) {
  const lives: Life[] = [];
  const counts = { received: 0, duplicate: 0, late: 0, restarted: 0 };
  const begin = (seq: number, content: number) =>
    lives.push({ floor: seq, last: seq, seen: new Map([[seq, content]]) });

  function isNew(seq: number, content: number): boolean {
    const life = lives.at(-1);
    if (!life) return begin(seq, content) > 0;
    if (seq > life.last) {
      life.last = seq;
    } else {
      const isOld = seq <= life.last - windowSize;
      if (!isOld && !life.seen.has(seq)) {
        counts.late += 1;
      } else {
        if (signed || (!isOld && life.seen.get(seq) === content)) return false;
        counts.restarted += 1;
        return begin(seq, content) > 0;
      }
    }
    life.seen.set(seq, content);
    return true;
  }

  return {
    take(seq: number, content: number): boolean {
      const fresh = isNew(seq, content);
      counts[fresh ? 'received' : 'duplicate'] += 1;
      return fresh;
    },
    counts() {
      const missed = lives.reduce((sum, { floor, last, seen }) => {
        const came = [...seen.keys()].filter((each) => each >= floor).length;
        return sum + (last - floor + 1 - came);
      }, 0);
      return { ...counts, missed };
    },
  };
}

function compareWithModel(seed: number): void {
  let random = seed;
  const below = (limit: number) => {
    random = (random * 48_271) % 2_147_483_647;
    return random % limit;
  };
  const signed = seed % 4 === 0;
  const model = createModel(signed);
  const state = createSequence();
  const counts = zero();
  let last = below(200);
  for (let step = 0; step < 3000; step += 1) {
    const kind = below(100);
    let seq = last + 1;
    if (kind > 70) seq = Math.max(0, last - below(90));
    else if (kind > 60) seq = last + below(90);
    else if (kind === 0) seq = below(20);
    const content = below(10) === 0 ? 2 : 1;
    const fresh = takeNumber(state, counts, { seq, hash: [content, 7], signed });
    const wanted = model.take(seq, content);
    if (fresh !== wanted) expect.fail(`seed ${seed}, step ${step}, number ${seq}: ${fresh}, not ${wanted}`);
    last = state.last ?? 0;
  }
  expect(counts, `seed ${seed}`).toEqual(model.counts());
}
