import { describe, expect, it } from 'vitest';
import { AppError } from '../../../common/runtime/app-error.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { createGatherer, type GathererLimits } from '../../../wamp-agent/operations/gatherer.ts';
import { createProgressLimit } from '../../../wamp-agent/operations/progress-limit.ts';
import { until } from '../../harness/until.ts';

interface Item {
  board: string;
  size?: number;
}

function gather(write: (items: Item[]) => Promise<string[]>, limits: Partial<GathererLimits> = {}) {
  return createGatherer<Item, string>({
    write,
    boardOf: (item) => item.board,
    sizeOf: (item) => item.size ?? 1,
    logger: createLogger('test', 'silent'),
    limits,
  });
}

const names = (items: Item[]) => items.map((each) => each.board);

/** Writes that end when the test says so. */
function heldWrites() {
  const groups: string[][] = [];
  let release = () => {};
  const write = (items: Item[]) =>
    new Promise<string[]>((resolve) => {
      groups.push(names(items));
      release = () => resolve(names(items));
    });
  return { groups, write, release: () => release() };
}

describe('the gatherer', () => {
  it('has one write in flight, and gives the next one all that waited', async () => {
    const { groups, write, release } = heldWrites();
    const { add } = gather(write);
    const first = add({ board: 'a' });
    await until('the first write', () => groups.length === 1);
    const rest = [add({ board: 'b' }), add({ board: 'c' })];
    release();
    expect(await first).toBe('a');
    await until('the second write', () => groups.length === 2);
    release();
    expect(await Promise.all(rest)).toEqual(['b', 'c']);
    expect(groups).toEqual([['a'], ['b', 'c']]);
  });

  it('keeps a write within its limits, and yet takes one that is too large by itself', async () => {
    const groups: string[][] = [];
    const { add } = gather(
      async (items) => {
        groups.push(names(items));
        return names(items);
      },
      { items: 2, size: 10 },
    );
    const sizes = [1, 1, 1, 20, 6, 6];
    await Promise.all(sizes.map((size, index) => add({ board: `${index}`, size })));
    expect(groups).toEqual([['0', '1'], ['2'], ['3'], ['4'], ['5']]);
  });

  it('refuses what is too much, of one board and of all', async () => {
    const { write, release, groups } = heldWrites();
    const { add } = gather(write, { waiting: 3, waitingOfBoard: 2 });
    const first = add({ board: 'a' });
    await until('the first write', () => groups.length === 1);
    const second = add({ board: 'a' });
    await expect(add({ board: 'a' })).rejects.toMatchObject({ code: 'too-many-requests' });
    const others = [add({ board: 'b' }), add({ board: 'c' })];
    await expect(add({ board: 'd' })).rejects.toMatchObject({ code: 'unavailable' });
    release();
    await until('the second write', () => groups.length === 2);
    release();
    await Promise.all([first, second, ...others]);
  });

  it('keeps the fault of one from its neighbours', async () => {
    const { add } = gather(async (items) => {
      if (items.some((each) => each.board === 'bad')) throw new Error('cannot be stored');
      return names(items);
    });
    const settled = await Promise.allSettled(['a', 'bad', 'c'].map((board) => add({ board })));
    expect(settled.map((each) => each.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('gives an outage back to all at once', async () => {
    let writes = 0;
    const { add } = gather(async () => {
      writes += 1;
      throw new AppError('unavailable', 'the database is away');
    });
    const settled = await Promise.allSettled(['a', 'b'].map((board) => add({ board })));
    expect(settled.map((each) => each.status)).toEqual(['rejected', 'rejected']);
    expect(writes).toBe(1);
  });

  it('finishes what waits when it is stopped', async () => {
    const { add, stop } = gather(async (items) => names(items));
    const waiting = add({ board: 'a' });
    await stop();
    expect(await waiting).toBe('a');
    await expect(add({ board: 'b' })).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('the limit of progress', () => {
  it('lets one through in a second for each target', () => {
    let nowMs = 0;
    const { take } = createProgressLimit(() => nowMs);
    expect([take('a'), take('a'), take('b')]).toEqual([true, false, true]);
    nowMs = 999;
    expect(take('a')).toBe(false);
    nowMs = 1000;
    expect([take('a'), take('a')]).toEqual([true, false]);
  });
});
