import { describe, expect, it } from 'vitest';
import { hasTag, parseRange } from '../../../../api/artifacts/range.ts';

describe('a range of bytes', () => {
  it.each([
    ['bytes=0-0', { from: 0, to: 0 }],
    ['bytes=2-5', { from: 2, to: 5 }],
    ['bytes=2-', { from: 2, to: 9 }],
    ['bytes=2-100', { from: 2, to: 9 }],
    ['bytes=-3', { from: 7, to: 9 }],
    ['bytes=-100', { from: 0, to: 9 }],
    ['Bytes=1-1', { from: 1, to: 1 }],
  ])('%s of ten', (header, range) => {
    expect(parseRange(header, 10)).toEqual(range);
  });

  it.each([
    undefined,
    '',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=5-2',
    'bytes=0-1,3-4',
    'items=0-1',
    'bytes=0-9999999999999999999',
  ])('%s counts as none that was asked for', (header) => {
    expect(parseRange(header, 10)).toBe('all');
  });

  it.each([
    ['bytes=10-', 10],
    ['bytes=99-100', 10],
    ['bytes=-0', 10],
    ['bytes=0-', 0],
    ['bytes=-5', 0],
  ])('%s of %d does not exist', (header, size) => {
    expect(parseRange(header, size)).toBe('none');
  });
});

describe('a list of entity tags', () => {
  it('has what is in it', () => {
    expect(hasTag('"a", W/"b"', '"b"')).toBe(true);
    expect(hasTag('*', '"b"')).toBe(true);
    expect(hasTag('"a"', '"b"')).toBe(false);
    expect(hasTag(undefined, '"b"')).toBe(false);
  });
});
