import { describe, expect, it } from 'vitest';
import { inTurn } from '../../../common/runtime/in-turn.ts';

describe('in turn', () => {
  it('does each once, so many at a time and the next as soon as one has ended', async () => {
    const open = new Map<number, () => void>();
    const done: number[] = [];
    const all = inTurn([1, 2, 3, 4], 2, async (item) => {
      await new Promise<void>((resolve) => open.set(item, resolve));
      done.push(item);
    });
    const end = async (item: number) => {
      open.get(item)?.();
      await new Promise((resolve) => setImmediate(resolve));
    };
    expect([...open.keys()]).toEqual([1, 2]);
    await end(2);
    expect([...open.keys()]).toEqual([1, 2, 3]);
    for (const item of [3, 1, 4]) await end(item);
    await all;
    expect(done).toEqual([2, 3, 1, 4]);
  });

  it('ends with what the first failed one threw, and at once without items', async () => {
    await inTurn([], 4, () => Promise.reject(new Error('never')));
    const work = async (item: number) => {
      if (item === 2) throw new Error('no two');
    };
    await expect(inTurn([1, 2, 3], 1, work)).rejects.toThrow('no two');
  });
});
