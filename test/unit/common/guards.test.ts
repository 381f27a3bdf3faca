import { describe, expect, it } from 'vitest';
import { asArray, asInteger, asObject, asString, isUuid } from '../../../common/runtime/guards.ts';

describe('guards', () => {
  it('names an unknown field by its path', () => {
    expect(() => asObject({ a: 1, b: 2 }, 'kwargs', ['a'])).toThrow('kwargs.b is not a known field');
  });

  it.each([null, [], 'x', 1])('refuses %j where an object is wanted', (value) => {
    expect(() => asObject(value, 'kwargs')).toThrow('kwargs must be an object');
  });

  it('refuses control characters, and lets line feeds pass only in multi-line text', () => {
    expect(() => asString('a\u0000b', 'name', { max: 10 })).toThrow('control characters');
    expect(() => asString('a\nb', 'name', { max: 10 })).toThrow('control characters');
    expect(() => asString('a\u0085b', 'name', { max: 10 })).toThrow('control characters');
    expect(asString('a\nb', 'text', { max: 10, multiline: true })).toBe('a\nb');
  });

  it('names the limit that was passed', () => {
    expect(() => asString('x'.repeat(11), 'name', { max: 10 })).toThrow('name must have 1 to 10 characters');
    expect(() => asArray([1, 2, 3], 'items', { max: 2 })).toThrow('items must have at most 2 items, not 3');
    expect(() => asInteger(1.5, 'n', { min: 0, max: 9 })).toThrow('n must be a whole number');
    expect(() => asInteger(10, 'n', { min: 0, max: 9 })).toThrow('n must be from 0 to 9');
  });

  it('takes only lower-case uuids with dashes', () => {
    expect(isUuid('7f9c24e8-3b12-4fef-91e0-56a2d5a3b1c4')).toBe(true);
    expect(isUuid('7F9C24E8-3B12-4FEF-91E0-56A2D5A3B1C4')).toBe(false);
    expect(isUuid("7f9c24e8-3b12-4fef-91e0-56a2d5a3b1c4' OR 1=1")).toBe(false);
  });
});
