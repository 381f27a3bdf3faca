import { describe, expect, it } from 'vitest';
import { AppError, type ErrorCode, errorStatuses } from '../../common/runtime/app-error.ts';
import { codeOfUri, errorUri, toAppError } from '../../common/wamp/errors.ts';

const codes = Object.keys(errorStatuses) as ErrorCode[];

describe('error codes on the wire', () => {
  it.each(codes)('%s comes back as it went', (code) => {
    const uri = errorUri(code);
    expect(uri).toMatch(/^(wamp\.error|boardwalk\.error)\.[a-z_]+$/);
    expect(codeOfUri(uri)).toBe(code);
    const fault = { error: uri, args: ['why'], kwargs: { field: 'x' } };
    expect(toAppError(fault)).toMatchObject({ code, message: 'why', details: { field: 'x' } });
  });

  it('has one URI per code', () => {
    expect(new Set(codes.map(errorUri)).size).toBe(codes.length);
  });

  it('takes an unknown URI for a failed procedure', () => {
    expect(toAppError({ error: 'com.example.dry' })).toMatchObject({ code: 'procedure-failed' });
    expect(toAppError(new AppError('conflict', 'kept'))).toMatchObject({ code: 'conflict' });
  });
});
