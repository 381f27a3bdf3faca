import { describe, expect, it } from 'vitest';
import { parseDatabaseUrl } from '../../../common/db/database-url.ts';
import { faultKind, isDuplicate } from '../../../common/db/fault-kind.ts';

describe('DATABASE_URL', () => {
  it('takes several hosts in order', () => {
    expect(parseDatabaseUrl('mysql://bw:p%40ss@db1,db2:3307,[::1]:3308/boardwalk?tls=1')).toEqual({
      nodes: [
        { host: 'db1', port: 3306 },
        { host: 'db2', port: 3307 },
        { host: '::1', port: 3308 },
      ],
      username: 'bw',
      password: 'p@ss',
      schema: 'boardwalk',
      tls: true,
    });
  });

  it.each([
    'postgres://u:secretword@h/db',
    'mysql://u:secretword@h:99999/db',
    'mysql://u:secretword@h/db?ssl=1',
  ])('refuses %s without repeating the password', (url) => {
    expect(() => parseDatabaseUrl(url)).toThrow(/^(?!.*secretword)/);
  });
});

describe('database faults', () => {
  it.each([
    [{ errno: 1213, code: 'ER_LOCK_DEADLOCK' }, 'rollback'],
    [{ errno: 1205, code: 'ER_LOCK_WAIT_TIMEOUT' }, 'rollback'],
    [{ errno: 1114, code: 'ER_RECORD_FILE_FULL' }, 'connection'],
    [{ errno: 1047, code: 'ER_UNKNOWN_COM_ERROR' }, 'connection'],
    [{ code: 'ECONNREFUSED' }, 'connection'],
    [{ code: 'PROTOCOL_CONNECTION_LOST' }, 'connection'],
    [{ errno: 1062, code: 'ER_DUP_ENTRY' }, 'final'],
    [{ errno: 1045, code: 'ER_ACCESS_DENIED_ERROR' }, 'final'],
    [new Error('any'), 'final'],
    [undefined, 'final'],
  ])('%j is of kind %s', (error, kind) => {
    expect(faultKind(error)).toBe(kind);
  });

  it('tells which key was violated', () => {
    const error = { errno: 1062, message: "Duplicate entry 'x' for key 'uq_boards_name'" };
    expect(isDuplicate(error, 'uq_boards_name')).toBe(true);
    expect(isDuplicate(error, 'uq_tenants_name')).toBe(false);
  });
});
