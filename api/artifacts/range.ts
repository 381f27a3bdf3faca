/** `Range` of a download (RFC 9110): one range of bytes. Pure. */

export interface ByteRange {
  from: number;
  /** Counted. */
  to: number;
}

const pattern = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i;

/**
 * `all` when no range was asked for, or in a way that need not be understood: several ranges, other
 * units. `none` when nothing of it exists.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'all' | 'none' {
  const match = pattern.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return 'all';
  const [, first = '', last = ''] = match;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'none' : { from: size - length, to: size - 1 };
  }
  const from = Number(first);
  const to = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < from) return 'all';
  return from >= size ? 'none' : { from, to };
}

/** Whether a list of entity tags, as in `If-None-Match`, has this one. */
export function hasTag(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((each) => {
    const text = each.trim().replace(/^W\//, '');
    return text === '*' || text === tag;
  });
}
