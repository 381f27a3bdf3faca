import { describe, expect, it } from 'vitest';
import { cursorTime, pageRequest, toCursor, toPage } from '../../../../api/http/paging.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';

const page = (rows: number[], limit: number) =>
  toPage(
    rows,
    limit,
    'up',
    (row) => ({ row }),
    (row) => [row, null],
  );

describe('paging', () => {
  it('gives a cursor exactly when there is more', () => {
    expect(page([], 2)).toEqual({ items: [] });
    expect(page([1, 2], 2)).toEqual({ items: [{ row: 1 }, { row: 2 }] });
    const more = page([1, 2, 3], 2);
    expect(more.items).toEqual([{ row: 1 }, { row: 2 }]);
    expect(pageRequest({ after: more.next as string }, 'up', ['number', 'time'])).toEqual({
      limit: 100,
      after: [2, null],
    });
  });

  it.each([
    'x',
    '',
    Buffer.from('{"a":1}').toString('base64url'),
    Buffer.from('["up",1]').toString('base64url'),
    Buffer.from('["up",1,{}]').toString('base64url'),
    Buffer.from('["up",1,2,3]').toString('base64url'),
    Buffer.from('["up",1e999,2]').toString('base64url'),
    toCursor('up', ['1', 2]),
    toCursor('up', [1, 8e15]),
    toCursor('down', [1, 2]),
  ])('refuses the cursor %s', (after) => {
    expect(() => pageRequest({ after }, 'up', ['number', 'time'])).toThrow(AppError);
  });

  it('refuses a time that is none', () => {
    expect(() => cursorTime('x')).toThrow(AppError);
    expect(() => cursorTime(null)).toThrow(AppError);
    expect(cursorTime(5)).toEqual(new Date(5));
  });
});
