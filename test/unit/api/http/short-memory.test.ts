import { describe, expect, it } from 'vitest';
import { createShortMemory } from '../../../../api/http/short-memory.ts';

describe('the short memory of the hot path', () => {
  function memory() {
    const clock = { nowMs: 0 };
    let value = 0;
    const made = createShortMemory(() => clock.nowMs);
    const read = async () => {
      value += 1;
      return value;
    };
    return { ...made, clock, read, ask: (key = 'a') => made.recall(key, read, () => true) };
  }

  it('asks again after half a second, and for each key', async () => {
    const { ask, clock } = memory();
    expect([await ask(), await ask(), await ask('b')]).toEqual([1, 1, 2]);
    clock.nowMs = 500;
    expect(await ask()).toBe(1);
    clock.nowMs = 501;
    expect(await ask()).toBe(3);
  });

  it('counts from before the question, not from the answer', async () => {
    const { recall, clock, ask } = memory();
    await recall(
      'a',
      async () => {
        clock.nowMs = 400;
        return 0;
      },
      () => true,
    );
    clock.nowMs = 501;
    expect(await ask()).toBe(1);
  });

  it('keeps only what is to be kept, and no failures', async () => {
    const { recall, ask, read } = memory();
    await recall('a', read, () => false);
    expect(await ask()).toBe(2);
    await expect(
      recall(
        'c',
        () => Promise.reject(new Error('away')),
        () => true,
      ),
    ).rejects.toThrow('away');
    expect(await ask('c')).toBe(3);
  });

  it('forgets all when a change begins, and remembers nothing until it is over', async () => {
    const { ask, beginChange } = memory();
    await ask();
    const end = beginChange();
    expect([await ask(), await ask()]).toEqual([2, 3]);
    const endOther = beginChange();
    end();
    end();
    expect([await ask(), await ask()]).toEqual([4, 5]);
    endOther();
    expect([await ask(), await ask()]).toEqual([6, 6]);
  });

  it('does not remember what was read before a change that is over by the answer', async () => {
    const { recall, beginChange, ask } = memory();
    const answer = Promise.withResolvers<number>();
    const asked = recall(
      'a',
      () => answer.promise,
      () => true,
    );
    beginChange()();
    answer.resolve(0);
    expect(await asked).toBe(0);
    expect(await ask()).toBe(1);
  });
});
