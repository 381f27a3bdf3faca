import { describe, expect, it } from 'vitest';
import { type ReadingsInterest, unionOf } from '../../../../api/events/live-readings.ts';

describe('what an agent is asked for', () => {
  const of = (...interests: ReadingsInterest[]) => interests.map((interest) => ({ interest }));

  it('is nothing when nobody wants it', () => {
    expect(unionOf('watched', of({ tenants: null }))).toBeUndefined();
    expect(unionOf('wide', of({ boards: ['b'] }))).toBeUndefined();
    expect(unionOf('watched', of({ boards: [] }))).toBeUndefined();
    expect(unionOf('wide', of({ tenants: [] }))).toBeUndefined();
  });

  it('is the watched boards of all listeners, in an order that compares', () => {
    const interests = of({ boards: ['c', 'a'] }, { tenants: ['t'] }, { boards: ['b', 'a'] });
    expect(unionOf('watched', interests)).toEqual({ boards: ['a', 'b', 'c'], tenants: null });
  });

  it('is the tenants of all who see many boards, or all tenants for an admin', () => {
    const interests = of({ tenants: ['u'] }, { boards: ['b'] }, { tenants: ['t', 'u'] });
    expect(unionOf('wide', interests)).toEqual({ boards: null, tenants: ['t', 'u'] });
    expect(unionOf('wide', [...interests, ...of({ tenants: null })])).toEqual({
      boards: null,
      tenants: null,
    });
  });
});
