import { describe, expect, it } from 'vitest';
import { quickHash, quickKey } from '../../../../board-agent/intake/quick-hash.ts';

const key = (text: string, bytes: string | Uint8Array) => quickKey(text, Buffer.from(bytes));

describe('the quick hash', () => {
  it('is the same for the same, and another for what differs in one bit, length or border', () => {
    expect(key('a/b', 'payload')).toBe(key('a/b', 'payload'));
    const others = [
      'a/b|payloae',
      'a/b|payload ',
      'a/b|',
      '|a/bpayload',
      'a/bp|ayload',
      'A/b|payload',
      'é|',
      'é|\0',
    ];
    const keys = others.map((each) => key(...(each.split('|') as [string, string])));
    expect(new Set([...keys, key('a/b', 'payload')]).size).toBe(others.length + 1);
    const long = Buffer.alloc(100_000, 1);
    const first = key('t', long);
    long[99_999] = 2;
    expect(key('t', long)).not.toBe(first);
  });

  it('spreads what devices send over each of its words', () => {
    const count = 50_000;
    const hashes = Array.from({ length: count }, (_, seq) =>
      quickHash('field', Buffer.from(JSON.stringify({ device: `n${seq % 20}`, seq, data: { v: seq / 10 } }))),
    );
    // Of 32 bits a quarter of one pair collides in the mean.
    for (const word of [0, 1, 2, 3])
      expect(new Set(hashes.map((each) => each[word])).size).toBeGreaterThan(count - 10);
    expect(new Set(hashes.map((each) => each.slice(0, 2).join())).size).toBe(count);
  });
});
