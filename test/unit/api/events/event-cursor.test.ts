import { describe, expect, it } from 'vitest';
import { createCursorCodec } from '../../../../api/events/event-cursor.ts';

describe('event cursors', () => {
  const { format, parse } = createCursorCodec('secret of this installation');

  it('give back what was put in', () => {
    for (const position of [
      { at: 1_795_000_000_123, id: 0 },
      { at: 1, id: Number.MAX_SAFE_INTEGER },
    ])
      expect(parse(format(position))).toEqual(position);
  });

  it('are the same for the same event, so that clients can tell repeats', () => {
    expect(format({ at: 5, id: 6 })).toBe(format({ at: 5, id: 6 }));
  });

  it('are refused when malformed, changed, or of another installation', () => {
    const cursor = format({ at: 1_795_000_000_123, id: 42 });
    const foreign = createCursorCodec('another').format({ at: 1_795_000_000_123, id: 42 });
    for (const wrong of ['', 'x', '42', `${cursor}x`, `1${cursor}`, cursor.slice(1), foreign, `${cursor}\n`])
      expect(parse(wrong)).toBeUndefined();
  });

  it('fit into the limit of the contract', () => {
    expect(format({ at: 8_640_000_000_000_000, id: Number.MAX_SAFE_INTEGER }).length).toBeLessThanOrEqual(
      100,
    );
  });
});
