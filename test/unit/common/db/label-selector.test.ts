import { describe, expect, it } from 'vitest';
import {
  labelCondition,
  parseLabelSelector,
  type SelectorPlace,
} from '../../../../common/db/queries/label-selector.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';

function faultOf(text: string, place?: SelectorPlace): AppError {
  try {
    parseLabelSelector(text, place);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error(`it took ${text}`);
}

describe('parseLabelSelector', () => {
  it('reads every form', () => {
    expect(parseLabelSelector('site=lyon,role in (gw, hub),!retired')).toEqual([
      { key: 'site', kind: 'in', values: ['lyon'] },
      { key: 'role', kind: 'in', values: ['gw', 'hub'] },
      { key: 'retired', kind: 'missing' },
    ]);
    expect(parseLabelSelector(' a == b , c!=d , e notin(f) , g/h.i ')).toEqual([
      { key: 'a', kind: 'in', values: ['b'] },
      { key: 'c', kind: 'notin', values: ['d'] },
      { key: 'e', kind: 'notin', values: ['f'] },
      { key: 'g/h.i', kind: 'exists' },
    ]);
  });

  it('takes keys that look like operators', () => {
    expect(parseLabelSelector('in,notin=in,in in (in)')).toEqual([
      { key: 'in', kind: 'exists' },
      { key: 'notin', kind: 'in', values: ['in'] },
      { key: 'in', kind: 'in', values: ['in'] },
    ]);
  });

  it('takes any value in double quotes', () => {
    expect(parseLabelSelector('a="x, (y) \\"z\\" \\\\",b=""')).toEqual([
      { key: 'a', kind: 'in', values: ['x, (y) "z" \\'] },
      { key: 'b', kind: 'in', values: [''] },
    ]);
  });

  it.each([
    ['', 1],
    [',a', 1],
    ['a,', 3],
    ['a=', 3],
    ['a=b c', 5],
    ['a in', 3],
    ['a in (', 7],
    ['a in ()', 7],
    ['a in (b', 8],
    ['a in (b,)', 9],
    ['a=b)', 4],
    ['!', 2],
    ['!!a', 2],
    ['=b', 1],
    ['a="b', 3],
    ['é=b', 1],
    [`${'k'.repeat(64)}=v`, 1],
    [`a=${'v'.repeat(101)}`, 3],
    [Array(21).fill('a').join(','), 41],
    ['a\u0000', 2],
  ])('says where %j is wrong', (text, position) => {
    const thrown = faultOf(text);
    expect(thrown.code).toBe('invalid-request');
    expect(thrown.details.errors).toMatchObject([{ parameter: 'query.labels', position }]);
  });

  it('says where the selector stands: in the query, unless it is told otherwise', () => {
    const detail = 'position 3: expected a value';
    expect(faultOf('a=')).toMatchObject({
      message: `labels is not a selector: ${detail}`,
      details: { errors: [{ parameter: 'query.labels', detail, position: 3 }] },
    });
    const inBody = faultOf('a=', { name: 'selector', pointer: '/target/selector' });
    expect(inBody.message).toBe(`selector is not a selector: ${detail}`);
    expect(inBody.details).toEqual({ errors: [{ pointer: '/target/selector', detail, position: 3 }] });
    const elsewhere = faultOf('a=', { name: 'only', parameter: 'query.only' });
    expect(elsewhere.message).toBe(`only is not a selector: ${detail}`);
    expect(elsewhere.details).toEqual({ errors: [{ parameter: 'query.only', detail, position: 3 }] });
  });

  it('stays quick on hostile text', () => {
    const startedAt = performance.now();
    for (const text of ['a'.repeat(1000), ' '.repeat(1000), `a="${'\\'.repeat(990)}`, '('.repeat(1000)]) {
      try {
        parseLabelSelector(text);
      } catch {
        // Only the time counts.
      }
    }
    expect(performance.now() - startedAt).toBeLessThan(200);
  });
});

describe('labelCondition', () => {
  it('passes keys and values as parameters only', () => {
    const condition = labelCondition({ key: "a'", kind: 'notin', values: ["b'"] }, 'b.uuid');
    expect(condition.sql).not.toContain("'");
    expect(condition.sql).toMatch(/^NOT EXISTS/);
    expect(condition.values).toEqual(["a'", ["b'"]]);
    expect(labelCondition({ key: 'a', kind: 'exists' }, 'b.uuid').values).toEqual(['a']);
  });
});
