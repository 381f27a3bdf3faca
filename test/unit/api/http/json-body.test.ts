import { describe, expect, it } from 'vitest';
import { checkJson } from '../../../../api/http/json-body.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';

function faultOf(body: unknown): unknown {
  try {
    checkJson(body);
  } catch (error) {
    return error instanceof AppError ? (error.details.errors as unknown[])[0] : error;
  }
  return undefined;
}

describe('checkJson', () => {
  it('lets ordinary JSON pass, control characters in free text included', () => {
    expect(faultOf({ a: [1, 'x\u0000\n', null, true, { b: '😀' }], constructor: 1 })).toBeUndefined();
    expect(faultOf(undefined)).toBeUndefined();
  });

  it('names the place of what it refuses', () => {
    expect(faultOf(JSON.parse('{"a":{"b/c~d":["ok","\\ud800"]}}'))).toEqual({
      pointer: '/a/b~1c~0d/1',
      detail: 'must be well-formed Unicode',
    });
    expect(faultOf(JSON.parse('{"a":{"__proto__":1}}'))).toMatchObject({ pointer: '/a/__proto__' });
    expect(faultOf(JSON.parse('{"a":1e999}'))).toMatchObject({ pointer: '/a' });
    expect(faultOf(JSON.parse('{"a":{"\\ud800":1}}'))).toMatchObject({ pointer: '/a' });
  });

  it('refuses deep nesting without going deep itself', () => {
    const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
    expect(faultOf(nested(24))).toBeUndefined();
    expect(faultOf(nested(25))).toMatchObject({ detail: expect.stringContaining('24 levels') });
    expect(faultOf(nested(200_000))).toMatchObject({ detail: expect.stringContaining('24 levels') });
  });
});
