import { describe, expect, it } from 'vitest';
import { accountFor } from '../../../../api/readings/completeness.ts';
import { formatCursor, parseCursor } from '../../../../api/readings/raw-cursor.ts';
import { csv, ndjson } from '../../../../api/readings/raw-export.ts';
import { parseResolution, parseWindow } from '../../../../api/readings/window.ts';

const refusal = (work: () => unknown): unknown => {
  try {
    return work();
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('the window of a query', () => {
  const now = Date.UTC(2026, 10, 22, 12);

  it('is the last hour when nothing is said', () => {
    expect(parseWindow({}, now)).toEqual({ fromAt: now - 3_600_000, toAt: now });
    expect(parseWindow({ to: '2026-11-01T00:00:00+01:00' }, now).toAt).toBe(Date.UTC(2026, 9, 31, 23));
  });

  it('must have a beginning before its end', () => {
    const [from, to] = ['2026-11-22T11:00:00Z', '2026-11-22T11:00:00.000Z'];
    expect(refusal(() => parseWindow({ from, to }, now))).toBe('invalid-request');
    expect(refusal(() => parseWindow({ from: '2026-13-01T00:00:00Z' }, now))).toBe('invalid-request');
  });

  it('has a resolution in words or in milliseconds', () => {
    expect([undefined, 'auto', 'raw', '60000ms'].map(parseResolution)).toEqual([
      'auto',
      'auto',
      'raw',
      60_000,
    ]);
  });
});

describe('a cursor', () => {
  const cursor = {
    fromAt: 1000,
    toAt: 5000,
    streams: [{ id: 7, after: [4999, 3, Number.MAX_SAFE_INTEGER] as [number, number, number] }],
  };

  it('comes back as it went', () => {
    expect(parseCursor(formatCursor(cursor))).toEqual(cursor);
  });

  it('of another making is refused', () => {
    const text = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const bad = [
      '',
      '%%',
      text(null),
      text({}),
      text([1]),
      text([1, 1000, 5000]),
      text([2, 1000, 5000, [7, 1, 1, 1]]),
    ];
    const outside = [text([1, 1000, 5000, [7, 5000, 1, 1]]), text([1, 1000, 5000, [7, 999, 1, 1]])];
    const odd = [
      text([1, 1000, 5000, [7, '1', 1, 1]]),
      text([1, 1000, 5000, [7, 1.5, 1, 1]]),
      text([1, 1000, 5000, 7]),
    ];
    for (const each of [...bad, ...outside, ...odd])
      expect(refusal(() => parseCursor(each))).toBe('invalid-request');
  });
});

describe('lines of an export', () => {
  it('keep text as it is, also where it holds quotes, commas and line ends', () => {
    const value = 'a "b", c\nd';
    expect(csv.line('m/s', [1, value])).toBe('m/s,1,"a ""b"", c\nd"\r\n');
    expect(JSON.parse(ndjson.line('m/s', [1, value]))).toEqual({ stream: 'm/s', at: 1, value });
    expect(csv.line('m/s', [1, true])).toBe('m/s,1,true\r\n');
  });
});

describe('completeness', () => {
  it('accounts for every number that was acknowledged', () => {
    const counts = { ackedSeq: 100, received: 90, lost: 10, misdated: 2 };
    expect(accountFor(counts)).toEqual({ ...counts, missing: 0, percent: 90 });
    expect(accountFor({ ...counts, received: 80 })).toMatchObject({ missing: 10, percent: 80 });
  });

  it('knows nothing of a spool that sent nothing, and never says 100 when one is lost', () => {
    expect(accountFor({ ackedSeq: 0, received: 0, lost: 0, misdated: 0 }).percent).toBeNull();
    const counts = { ackedSeq: 10_000_000, received: 9_999_999, lost: 1, misdated: 0 };
    expect(accountFor(counts).percent).toBe(99.999);
  });
});
