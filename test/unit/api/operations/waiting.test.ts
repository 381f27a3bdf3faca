import { describe, expect, it } from 'vitest';
import {
  explainWaiting,
  maxLines,
  type WaitingFacts,
  type WaitingRollout,
  type WaitingTarget,
} from '../../../../api/operations/waiting.ts';

const now = Date.UTC(2026, 10, 25, 14, 5, 11);
const minutesAgo = (minutes: number) => new Date(now - minutes * 60_000);

const target = (values: Partial<WaitingTarget> = {}): WaitingTarget => ({
  board: 'uuid',
  name: 'pump-7',
  status: 'online',
  lastSeenAt: minutesAgo(0),
  state: 'queued',
  isHeld: false,
  attempt: 0,
  notBefore: null,
  cancelRequested: false,
  dispatchedAt: null,
  acceptedAt: null,
  progress: null,
  error: null,
  behind: null,
  ...values,
});
const explain = (facts: Partial<WaitingFacts> = {}) =>
  explainWaiting({
    now,
    state: 'active',
    delivery: 'when-online',
    window: null,
    targetCount: 1,
    written: 1,
    rollout: null,
    targets: [],
    more: 0,
    ...facts,
  });
const textOf = (values: Partial<WaitingTarget>) =>
  explain({ targets: [target(values)] }).map(({ text }) => text);

describe('the line of a board', () => {
  it.each([
    [3, '3 min ago'],
    [0.5, '30 s ago'],
    [180, '3 h ago'],
    [60 * 24 * 5, '5 days ago'],
  ])('says when it was last seen, %d minutes ago', (minutes, text) => {
    const lastSeenAt = minutesAgo(minutes);
    expect(textOf({ status: 'offline', lastSeenAt })).toEqual([
      `board pump-7 was last seen ${lastSeenAt.toISOString().slice(0, 19)}Z (${text})`,
    ]);
  });

  it('says what is known of a board that cannot be reached', () => {
    expect(textOf({ status: 'registered', lastSeenAt: null })).toEqual([
      'board pump-7 has never been online',
    ]);
    expect(textOf({ status: 'revoked' })).toEqual(['board pump-7 is revoked']);
    expect(textOf({ status: null, name: null })).toEqual(['board uuid was deleted']);
  });

  it('says until when the next attempt waits', () => {
    const notBefore = new Date(now + 30_000);
    expect(explain({ targets: [target({ notBefore, attempt: 2 })] })).toEqual([
      {
        board: 'uuid',
        reason: 'back-off',
        text: 'attempt 2 on board pump-7 waits until 2026-11-25T14:05:41Z',
        until: notBefore.toISOString(),
      },
    ]);
  });

  it('says when it begins, when it is set to begin later', () => {
    expect(textOf({ notBefore: new Date(now + 30_000) })).toEqual([
      'board pump-7 is not sent it before 2026-11-25T14:05:41Z',
    ]);
  });

  it('says which operation is in front of it', () => {
    expect(textOf({ behind: 'other' })).toEqual(['it waits for operation other on board pump-7']);
    expect(textOf({})).toEqual(['board pump-7 is online and is sent it next']);
  });

  it('says what is known of one that was sent', () => {
    expect(textOf({ state: 'dispatched', dispatchedAt: minutesAgo(1) })).toEqual([
      'sent to board pump-7 at 2026-11-25T14:04:11Z, no answer yet',
    ]);
    expect(
      textOf({
        state: 'running',
        acceptedAt: minutesAgo(2),
        progress: { percent: 40, message: 'copying' },
        status: 'offline',
        lastSeenAt: minutesAgo(1),
      }),
    ).toEqual([
      'board pump-7 has had it since 2026-11-25T14:03:11Z (40 %, copying); board pump-7 was last seen 2026-11-25T14:04:11Z (1 min ago)',
    ]);
    expect(textOf({ state: 'accepted', cancelRequested: true })).toEqual([
      'board pump-7 has it and is told to stop',
    ]);
  });

  it('says what could tell more of one that is unknown', () => {
    const [text] = textOf({ state: 'unknown', error: { message: 'no answer came' } });
    expect(text).toBe(
      'whether it ran on board pump-7 is unknown: no answer came. Its journal can tell (POST …/resolve asks it)',
    );
  });
});

describe('the lines of the whole operation', () => {
  const rollout = (values: Partial<WaitingRollout>): WaitingRollout => ({
    state: 'running',
    reason: null,
    wave: 1,
    waves: 4,
    held: 0,
    open: 0,
    perMinute: null,
    ...values,
  });
  const held = target({ isHeld: true });
  const about = (values: Partial<WaitingRollout>) =>
    explain({ delivery: 'rollout', rollout: rollout(values), targets: [held] });

  it('say when the window opens, and no board repeats it', () => {
    const window = { from: '02:00', to: '04:00', timeZone: 'Europe/Rome' };
    const targets = [target(), target({ status: 'offline' })];
    expect(explain({ delivery: 'window', window, targets })).toEqual([
      {
        board: null,
        reason: 'window',
        text: 'the window opens at 02:00 Europe/Rome',
        until: '2026-11-26T01:00:00.000Z',
      },
    ]);
  });

  it('say nothing of the window while it is open', () => {
    const window = { from: '15:00', to: '16:00', timeZone: 'Europe/Rome' };
    expect(explain({ delivery: 'window', window, targets: [target()] })).toMatchObject([{ reason: 'queue' }]);
  });

  it('say what a rollout waits for', () => {
    expect(about({ wave: 1, open: 3 })).toMatchObject([
      { board: null, reason: 'wave', text: 'wave 2 of 4 waits for 3 boards' },
    ]);
    expect(about({ wave: 4, held: 5, open: 1, perMinute: 60 })).toMatchObject([
      { reason: 'rate', text: 'wave 4 of 4 lets 60 boards in a minute; 5 wait for their turn' },
    ]);
    expect(about({ state: 'waiting', wave: 1 })).toMatchObject([
      { reason: 'approval', text: 'wave 2 of 4 waits for approval' },
    ]);
    expect(about({ state: 'paused', reason: 'too many failed' })).toMatchObject([
      { reason: 'paused', text: 'the rollout is paused: too many failed' },
    ]);
    expect(about({ wave: 0 })).toMatchObject([{ reason: 'wave', text: 'wave 1 of 4 is about to open' }]);
  });

  it('say how far the targets are written', () => {
    expect(explain({ state: 'preparing', written: 3000, targetCount: 10_000 })).toMatchObject([
      { reason: 'preparing', text: 'its targets are being written: 3000 of 10000 so far' },
    ]);
  });

  it('are none when it is done', () => {
    expect(explain({ state: 'succeeded' })).toEqual([]);
  });
});

describe('many boards', () => {
  const many = (count: number, values: Partial<WaitingTarget>) =>
    Array.from({ length: count }, (_, index) => target({ ...values, board: `u${index}`, name: `b${index}` }));

  it('have a line each up to a hundred', () => {
    expect(explain({ targets: many(maxLines, { status: 'offline' }) })).toHaveLength(maxLines);
  });

  it('beyond have a line that counts them, and none is lost', () => {
    const targets = [...many(200, { status: 'offline' }), ...many(41, { state: 'running' })];
    const lines = explain({ targets, more: 7 });
    expect(lines.length).toBeLessThanOrEqual(maxLines);
    const shown = lines.filter(({ board }) => board !== null).length;
    expect(lines.filter(({ board }) => board === null).map(({ text }) => text)).toEqual([
      `and ${200 - shown} more boards are offline`,
      'and 41 more boards have it',
      'and 7 more boards are not done',
    ]);
  });
});
