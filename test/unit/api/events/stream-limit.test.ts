import { describe, expect, it } from 'vitest';
import { createStreamLimit } from '../../../../api/events/stream-limit.ts';

describe('the limit of streams', () => {
  it('counts each caller apart and gives a place back once', () => {
    const { enter } = createStreamLimit(2);
    const leave = enter('a');
    enter('a');
    enter('b');
    expect(() => enter('a')).toThrow(expect.objectContaining({ code: 'too-many-requests' }));
    leave();
    leave();
    enter('a');
    expect(() => enter('a')).toThrow(/2 open streams/);
  });
});
