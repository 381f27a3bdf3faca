import { expect, it } from 'vitest';
import { formatLetters } from '../../../../board-agent/commands/dead-letters.ts';

it('shows what a device has put into a path, and lets it do nothing to the terminal', () => {
  const path = 'r/\u001b[2J\u0000\n\u202eü';
  const letter = { id: 7, at: '2026-11-28T10:00:00.000Z', source: 'coap', reason: 'unmatched', bytes: 1 };
  const text = formatLetters({
    letters: [{ ...letter, path, detail: `no rule fits '${path}'` }],
    next: null,
    summary: { letters: 1, bytes: 1, byReason: { unmatched: 1 }, unmatched: [{ path, letters: 1 }] },
  });
  expect(text.split('\n')).toHaveLength(2);
  expect(text.replace('\n', '')).not.toMatch(/\p{Cc}|\p{Cf}/u);
  expect(text).toContain("no rule fits 'r/\\u001b[2J\\u0000\\u000a\\u202eü'");
});
