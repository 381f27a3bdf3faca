import { describe, expect, it } from 'vitest';
import { checkWindow, type DailyWindow, windowState } from '../../../../common/operations/window.ts';

const at = (text: string) => Date.parse(text);
const rome = (from: string, to: string): DailyWindow => ({ from, to, timeZone: 'Europe/Rome' });

/** How long it is open from its next opening after a moment on. */
function openMinutes(window: DailyWindow, from: string): number {
  const before = windowState(window, at(from));
  if (before.open) throw new Error('it is open already');
  const state = windowState(window, before.opensAt);
  if (!state.open) throw new Error('it does not open');
  return (state.closesAt - before.opensAt) / 60_000;
}

describe('checking a window', () => {
  it.each([
    [rome('08:00', '08:00'), 'window has no length: from and to are both 08:00'],
    [rome('24:00', '08:00'), 'window.from must be a time of day such as 08:30'],
    [rome('08:00', '8:30'), 'window.to must be a time of day such as 08:30'],
    [rome('08:00', '08:60'), 'window.to must be a time of day such as 08:30'],
    [
      { from: '08:00', to: '09:00', timeZone: 'Mars/Base' },
      'window.timeZone "Mars/Base" is not a known time zone',
    ],
  ])('refuses %j', (window, message) => {
    expect(() => checkWindow(window)).toThrow(
      expect.objectContaining({ code: 'invalid-arguments', message }),
    );
  });

  it('takes one across midnight', () => {
    expect(checkWindow(rome('22:00', '06:00'))).toEqual(rome('22:00', '06:00'));
  });
});

describe('the state of a window', () => {
  it('is open from its first moment, and closed at its last', () => {
    const window = rome('08:00', '18:00');
    const [opens, closes] = [at('2026-11-25T07:00:00Z'), at('2026-11-25T17:00:00Z')];
    expect(windowState(window, opens - 1)).toEqual({ open: false, opensAt: opens });
    expect(windowState(window, opens)).toEqual({ open: true, closesAt: closes });
    expect(windowState(window, closes - 1)).toEqual({ open: true, closesAt: closes });
    expect(windowState(window, closes)).toEqual({ open: false, opensAt: at('2026-11-26T07:00:00Z') });
  });

  it('crosses midnight', () => {
    const window = rome('22:00', '06:00');
    const closesAt = at('2026-11-26T05:00:00Z');
    expect(windowState(window, at('2026-11-25T22:30:00Z'))).toEqual({ open: true, closesAt });
    expect(windowState(window, at('2026-11-26T04:59:59Z'))).toEqual({ open: true, closesAt });
    expect(windowState(window, closesAt)).toEqual({ open: false, opensAt: at('2026-11-26T21:00:00Z') });
  });

  it('is an hour shorter or longer on the nights that the clocks change', () => {
    const night = rome('22:00', '06:00');
    expect(openMinutes(night, '2026-03-27T12:00:00Z')).toBe(8 * 60);
    expect(openMinutes(night, '2026-03-28T12:00:00Z')).toBe(7 * 60);
    expect(openMinutes(night, '2026-10-24T12:00:00Z')).toBe(9 * 60);
    expect(openMinutes(rome('02:30', '03:30'), '2026-03-28T12:00:00Z')).toBe(30);
    expect(openMinutes(rome('02:30', '03:30'), '2026-10-24T12:00:00Z')).toBe(120);
  });

  it('does not open on the day that leaves all of it out, and has no break when that is left out', () => {
    const before = at('2026-03-29T00:00:00Z');
    expect(windowState(rome('02:10', '02:40'), before)).toEqual({
      open: false,
      opensAt: at('2026-03-30T00:10:00Z'),
    });
    expect(windowState(rome('02:40', '02:10'), before)).toEqual({
      open: true,
      closesAt: at('2026-03-30T00:10:00Z'),
    });
  });
});
