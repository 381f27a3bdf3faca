import { describe, expect, it } from 'vitest';
import { slugOf, withSuffix } from '../../../../api/tenants/slug.ts';

describe('slugs', () => {
  it.each([
    ['Lyon', 'lyon'],
    ['Città di Lyon!', 'citta-di-lyon'],
    ['--a--b--', 'a-b'],
    ['x'.repeat(100), 'x'.repeat(63)],
    [`${'x'.repeat(62)} y`, 'x'.repeat(62)],
  ])('of %s', (name, slug) => {
    expect(slugOf(name)).toBe(slug);
  });

  it('are random for names without a letter of theirs', () => {
    expect(slugOf('東京')).toMatch(/^tenant-[a-z2-7]{8}$/);
  });

  it('stay in bounds and in form with a suffix', () => {
    for (const slug of ['a', 'x'.repeat(63), `${'x'.repeat(56)}-yyyyyy`])
      expect(withSuffix(slug)).toMatch(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/);
  });
});
