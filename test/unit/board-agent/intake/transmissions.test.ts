import { afterEach, describe, expect, it } from 'vitest';
import { createKeySet } from '../../../../board-agent/intake/key-set.ts';
import { transmissionKey, transmissionLimits } from '../../../../board-agent/intake/transmissions.ts';
import { type Bench, createBench, reading } from './support.ts';

describe('a set of keys', () => {
  it('knows what came, and nothing else, however many', () => {
    const set = createKeySet();
    const keyOf = (index: number) => transmissionKey('s', String(index));
    for (let index = 0; index < 5000; index += 2) set.add(keyOf(index));
    set.add(keyOf(0));
    expect(set.size()).toBe(2500);
    for (let index = 0; index < 5000; index += 1)
      if (set.has(keyOf(index)) !== (index % 2 === 0)) expect.fail(`key ${index}`);
  });

  it('knows keys of zeros from free places', () => {
    const set = createKeySet();
    expect(set.has('\0'.repeat(8))).toBe(false);
    set.add('\0'.repeat(8));
    expect(set.has('\0'.repeat(8))).toBe(true);
  });
});

describe('transmissions', () => {
  let bench: Bench;
  afterEach(() => bench.close());

  const take = (transmission: string) =>
    bench.door.take({ ...reading('n1', undefined, { v: 1 }), transmission }).then(({ status }) => status);

  it('are known for five minutes, also after a restart, and forgotten in the end', async () => {
    bench = createBench({}, { ownerOf: () => 'field' });
    expect(await take('a')).toBe('stored');
    await bench.clock.advance(transmissionLimits.keepMs - 1000);
    expect(await take('a')).toBe('duplicate');
    bench.restart();
    expect(await take('a')).toBe('duplicate');
    await bench.clock.advance(2 * transmissionLimits.keepMs + 1000);
    expect(await take('b')).toBe('stored');
    await bench.clock.advance(transmissionLimits.keepMs + 1000);
    expect(await take('c')).toBe('stored');
    expect(await take('a')).toBe('stored');
  });

  it('belong to their source', async () => {
    bench = createBench({}, { ownerOf: () => 'field' });
    await take('a');
    expect(transmissionKey('field', 'a')).not.toBe(transmissionKey('other', 'a'));
  });

  it('of a message that was refused are not known: it may come again', async () => {
    bench = createBench({ maxPerSecond: 0.1 }, { ownerOf: () => 'field' });
    expect(await take('a')).toBe('stored');
    expect(await take('b')).toBe('refused');
    await bench.clock.advance(11_000);
    expect(await take('b')).toBe('stored');
  });
});
