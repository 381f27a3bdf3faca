/** Parts of the HTTP mechanism that fit a few lines each. */
import { describe, expect, it } from 'vitest';
import { cookieValue } from '../../../../api/http/authentication.ts';
import { asAppError, toProblem } from '../../../../api/http/problem.ts';
import { createTraceparent, parseTraceparent } from '../../../../api/http/request-context.ts';
import { expectedVersion, requireVersion } from '../../../../api/http/versions.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';

describe('toProblem', () => {
  it('keeps details, but for what the standard gives a meaning', () => {
    const error = new AppError('board-offline', 'the board is offline', {
      cause: new Error('secret'),
      details: { lastSeenAt: null, status: 200, code: 'x', retryAfterSeconds: 3 },
    });
    expect(toProblem(error, 'abc')).toEqual({
      type: 'about:blank',
      title: 'Board offline',
      status: 409,
      code: 'board-offline',
      detail: 'the board is offline',
      requestId: 'abc',
      lastSeenAt: null,
    });
  });

  it('hides what was not written for clients', () => {
    const problem = toProblem(asAppError(new Error('SELECT password FROM users')));
    expect(JSON.stringify(problem)).not.toContain('password');
    expect(problem).toMatchObject({ status: 500, code: 'internal' });
    expect(asAppError(undefined).code).toBe('internal');
  });
});

describe('traceparent', () => {
  it('is kept when valid', () => {
    const header = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    expect(parseTraceparent(header)).toEqual({ traceId: '0af7651916cd43dd8448eb211c80319c', flags: '01' });
    expect(createTraceparent(header).requestId).toBe('0af7651916cd43dd8448eb211c80319c');
  });

  it.each([
    undefined,
    '',
    '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
    '00-00000000000000000000000000000000-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
    'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n',
  ])('%s is replaced', (header) => {
    expect(parseTraceparent(header)).toBeUndefined();
    expect(createTraceparent(header).traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });
});

describe('versions', () => {
  const request = (version: number | undefined, tag: string | undefined) => ({
    body: version === undefined ? {} : { version },
    header: () => tag,
  });

  it('come from the body, from If-Match, or from neither', () => {
    expect(expectedVersion(request(3, undefined))).toBe(3);
    expect(expectedVersion(request(undefined, '"3"'))).toBe(3);
    expect(expectedVersion(request(undefined, 'W/"3"'))).toBe(3);
    expect(expectedVersion(request(3, '"3"'))).toBe(3);
    expect(expectedVersion(request(undefined, undefined))).toBeUndefined();
    expect(() => expectedVersion(request(3, '"4"'))).toThrow(AppError);
  });

  it('must be the current one, when one is expected', () => {
    expect(() => requireVersion(undefined, 9)).not.toThrow();
    expect(() => requireVersion(9, 9)).not.toThrow();
    expect(() => requireVersion(8, 9)).toThrow(/its version is 9/);
  });
});

describe('cookieValue', () => {
  it('finds its cookie among others', () => {
    expect(cookieValue('a=1; boardwalk_session=x=y; b=2', 'boardwalk_session')).toBe('x=y');
    expect(cookieValue('xboardwalk_session=1', 'boardwalk_session')).toBeUndefined();
    expect(cookieValue(undefined, 'boardwalk_session')).toBeUndefined();
  });
});
