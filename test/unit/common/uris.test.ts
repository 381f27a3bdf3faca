import { describe, expect, it } from 'vitest';
import { AppError, errorStatuses, isErrorCode } from '../../../common/runtime/app-error.ts';
import { codeOfUri, errorUri, toAppError } from '../../../common/wamp/errors.ts';
import {
  boardEventTopic,
  boardProcedureUri,
  isReservedProcedure,
  parseBoardUri,
  parseTenantTopic,
} from '../../../common/wamp/uris.ts';

const board = '7f9c24e8-3b12-4fef-91e0-56a2d5a3b1c4';
const tenant = '11111111-3b12-4fef-91e0-56a2d5a3b1c4';

describe('URIs', () => {
  it('reads back what it spells', () => {
    expect(parseBoardUri(boardProcedureUri(board, 'hv.set'))).toEqual({
      boardUuid: board,
      procedure: 'hv.set',
    });
    expect(parseTenantTopic(boardEventTopic(tenant, board, 'presence'))).toEqual({
      tenantId: tenant,
      boardUuid: board,
    });
    expect(parseTenantTopic(`boardwalk.tenant.${tenant}.`)).toEqual({ tenantId: tenant });
    expect(parseTenantTopic('boardwalk.tenant.')).toBeUndefined();
    expect(parseBoardUri('boardwalk.agent.hello')).toBeUndefined();
  });

  it('keeps the names of durable operations to the relay', () => {
    expect(isReservedProcedure('operation.run')).toBe(true);
    expect(isReservedProcedure('operational')).toBe(false);
  });
});

describe('error table', () => {
  it('brings each code back from its URI', () => {
    for (const code of Object.keys(errorStatuses).filter(isErrorCode))
      expect(codeOfUri(errorUri(code))).toBe(code);
  });

  it('takes a foreign error as the failure of the procedure and keeps it as cause', () => {
    const fault = { error: 'com.vendor.overheat', args: ['too hot'], kwargs: { celsius: 91 } };
    const error = toAppError(fault);
    expect(error).toBeInstanceOf(AppError);
    expect([error.code, error.message, error.details, error.cause]).toEqual([
      'procedure-failed',
      'too hot',
      { celsius: 91 },
      fault,
    ]);
  });
});
