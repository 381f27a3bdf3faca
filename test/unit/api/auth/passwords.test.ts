import { describe, expect, it } from 'vitest';
import { hashPassword, verifyPassword } from '../../../../api/auth/passwords.ts';
import { scopeAllowsProcedure } from '../../../../api/auth/principal.ts';

describe('passwords', () => {
  it('verify against their own hash only, however their letters are composed', async () => {
    const stored = await hashPassword('caf\u00e9-password');
    expect(stored).toMatch(/^scrypt\$16384\$8\$5\$[^$]+\$[^$]+$/);
    expect(stored.length).toBeLessThan(255);
    expect(await verifyPassword('cafe\u0301-password', stored)).toBe(true);
    expect(await verifyPassword('cafe-password', stored)).toBe(false);
    expect(await hashPassword('caf\u00e9-password')).not.toBe(stored);
  });

  it('never verify for a user that does not exist, nor against a hash of another kind', async () => {
    expect(await verifyPassword('', undefined)).toBe(false);
    expect(await verifyPassword('x', '')).toBe(false);
    expect(await verifyPassword('x', 'md5$x')).toBe(false);
  });

  it('take as long for a user that does not exist', async () => {
    const stored = await hashPassword('x');
    const timed = async (hash: string | undefined) => {
      const startedAt = performance.now();
      await verifyPassword('y', hash);
      return performance.now() - startedAt;
    };
    await timed(stored);
    const [known, unknown] = [await timed(stored), await timed(undefined)];
    expect(unknown).toBeGreaterThan(known / 4);
  });
});

describe('scopeAllowsProcedure', () => {
  it('takes names and wildcards at the end', () => {
    const scope = { boards: null, procedures: ['ping', 'gpio.*'] };
    expect(
      ['ping', 'pings', 'gpio.write', 'gpio', 'xgpio.a'].map((each) => scopeAllowsProcedure(scope, each)),
    ).toEqual([true, false, true, false, false]);
    expect(scopeAllowsProcedure({ boards: null, procedures: null }, 'anything')).toBe(true);
    expect(scopeAllowsProcedure({ boards: null, procedures: [] }, 'ping')).toBe(false);
  });
});
