import { describe, expect, it } from 'vitest';
import { decide } from '../../../../conductor/engine/decide.ts';
import type { BoardView, OpenTarget } from '../../../../conductor/engine/views.ts';
import { board, epoch, now, offline, rules, sent, target } from './support.ts';

const plan = (view: BoardView, ...targets: OpenTarget[]) => decide(view, targets, now, rules);
const runs = (view: BoardView, ...targets: OpenTarget[]) =>
  plan(view, ...targets).calls.flatMap((call) => (call.kind === 'run' ? [call.target.operationId] : []));

const past = new Date(now - 1);
const future = new Date(now + 5000);

describe('a queued target', () => {
  it('is sent as its first attempt, with what it was sent to', () => {
    const { changes, calls, hasOpen, nextAt } = plan(board(), target('a'));
    expect(changes).toEqual([
      expect.objectContaining({
        operationId: 'a',
        version: 1,
        from: 'queued',
        set: {
          state: 'dispatched',
          attempt: 1,
          deliveries: 1,
          sessionId: 'session-1',
          journalEpoch: epoch,
          safety: 'idempotent',
          notBefore: null,
          dispatchedAt: new Date(now),
          error: null,
        },
        event: expect.objectContaining({ kind: 'dispatched', attempt: 1 }),
      }),
    ]);
    expect(calls).toEqual([
      { kind: 'run', target: expect.objectContaining({ state: 'dispatched', attempt: 1, version: 2 }) },
    ]);
    expect([hasOpen, nextAt]).toEqual([true, undefined]);
  });

  it('keeps the number that its retry was given', () => {
    const [change] = plan(board(), target('a', { attempt: 3 })).changes;
    expect(change?.set).toMatchObject({ attempt: 3, deliveries: 1 });
  });

  it.each([
    ['cancelled', 'cancelled', board(), target('a', { cancelRequested: true })],
    ['expired', 'deadline-exceeded', board(), target('a', { deadlineAt: past })],
    ['failed', 'board-revoked', board({ status: 'revoked', session: undefined }), target('a')],
    ['cancelled', 'board-deleted', board({ status: undefined, session: undefined }), target('a')],
    ['failed', 'procedure-not-found', board(), target('a', { contractSafety: undefined })],
    ['failed', 'board-offline', board(offline), target('a', {}, { delivery: 'now' })],
  ] as const)('ends as %s with %s', (state, code, view, each) => {
    const { changes, calls, hasOpen } = plan(view, each);
    expect(changes).toEqual([
      expect.objectContaining({
        set: { state, error: expect.objectContaining({ code }) },
        event: expect.objectContaining({ kind: state }),
      }),
    ]);
    expect([calls, hasOpen]).toEqual([[], false]);
  });

  it('that could not be sent now says when its board was last seen', () => {
    const [change] = plan(board(offline), target('a', {}, { delivery: 'now' })).changes;
    expect(change?.set.error?.details).toEqual({ lastSeenAt: '2026-11-25T11:59:59.000Z' });
  });

  it('waits for its board without a time', () => {
    expect(plan(board(offline), target('a'))).toEqual({
      changes: [],
      calls: [],
      nextAt: undefined,
      hasOpen: true,
    });
  });

  it('waits for its time, and lets others go before it', () => {
    const { nextAt, calls } = plan(board(), target('a', { notBefore: future }), target('b'));
    expect(nextAt).toBe(future.getTime());
    expect(calls).toEqual([{ kind: 'run', target: expect.objectContaining({ operationId: 'b' }) }]);
  });

  it('waits for its window, notes when it opens, and lets others go before it', () => {
    const dailyWindow = { from: '20:00', to: '21:00', timeZone: 'UTC' };
    const windowed = target('a', {}, { delivery: 'window', dailyWindow });
    const { nextAt, changes, calls } = plan(board(), windowed, target('b'));
    const opensAt = Date.parse('2026-11-25T20:00:00Z');
    expect(nextAt).toBe(opensAt);
    expect(changes[0]).toMatchObject({ operationId: 'a', set: { notBefore: new Date(opensAt) } });
    expect(changes[0]?.event).toBeUndefined();
    expect(calls).toHaveLength(1);
  });

  it('is sent while its window is open', () => {
    const dailyWindow = { from: '11:00', to: '13:00', timeZone: 'UTC' };
    expect(runs(board(), target('a', {}, { delivery: 'window', dailyWindow }))).toEqual(['a']);
  });
});

describe('the order of a board', () => {
  it('is one at a time, the oldest first', () => {
    expect(runs(board(), target('a'), target('b'), target('c'))).toEqual(['a']);
  });

  it.each(['accepted', 'running'] as const)('has the next one wait for one that is %s', (state) => {
    expect(runs(board(), sent('a', { state }), target('b'))).toEqual([]);
  });

  it('also holds when a later one is under way', () => {
    expect(runs(board(), target('a'), sent('b', { state: 'running' }))).toEqual([]);
  });

  it('is not for parallel ones: they neither wait nor are waited for', () => {
    const parallel = { parallel: true };
    expect(runs(board(), sent('a', { state: 'running' }), target('b', {}, parallel))).toEqual(['b']);
    expect(runs(board(), sent('a', { state: 'running' }, parallel), target('b'), target('c'))).toEqual(['b']);
  });

  it('lets a bounded number of parallel ones go at once, and looks again for the others', () => {
    const many = Array.from({ length: 10 }, (_, index) => target(`${index}`, {}, { parallel: true }));
    expect(runs(board(), ...many)).toHaveLength(8);
    expect(plan(board(), ...many).nextAt).toBe(now);
  });
});

describe('a target that was sent and not answered', () => {
  it.each(['idempotent', 'journaled'])('is sent again as the same attempt when it is %s', (safety) => {
    const { changes, calls } = plan(
      board({ session: { id: 'session-2', cell: 'other' }, journalEpoch: 'another' }),
      sent('a', { safety, attempt: 2, deliveries: 1 }),
    );
    expect(changes).toEqual([
      expect.objectContaining({
        set: { state: 'dispatched', attempt: 2, deliveries: 2, sessionId: 'session-2', notBefore: null },
        event: expect.objectContaining({ kind: 'sent-again', attempt: 2 }),
      }),
    ]);
    // For the journal that it was first sent to.
    expect(calls).toEqual([{ kind: 'run', target: expect.objectContaining({ journalEpoch: epoch }) }]);
  });

  it.each(['at-most-once', null])('is never sent again when it is %s: the board is asked', (safety) => {
    const { changes, calls } = plan(board(), sent('a', { safety }));
    expect(changes).toEqual([]);
    expect(calls).toEqual([{ kind: 'ask', targets: [expect.objectContaining({ operationId: 'a' })] }]);
  });

  it('is unknown when it may not be sent again and nobody can be asked', () => {
    const { changes } = plan(board(offline), sent('a', { safety: 'at-most-once' }));
    expect(changes[0]).toMatchObject({ set: { state: 'unknown', error: { code: 'no-answer' } } });
  });

  it('waits for its board when it may be sent again', () => {
    expect(plan(board(offline), sent('a'))).toMatchObject({ changes: [], calls: [], hasOpen: true });
  });

  it('is asked for after its deadline, and unknown after the grace', () => {
    expect(plan(board(), sent('a', { deadlineAt: past })).calls).toMatchObject([{ kind: 'ask' }]);
    const late = sent('a', { deadlineAt: new Date(now - rules.graceMs) });
    expect(plan(board(), late).changes[0]).toMatchObject({
      set: { state: 'unknown', error: { code: 'no-report' } },
    });
  });

  it.each([
    ['board-revoked', board({ status: 'revoked', session: undefined })],
    ['board-deleted', board({ status: undefined, session: undefined })],
  ] as const)('is unknown with %s', (code, view) => {
    expect(plan(view, sent('a')).changes[0]).toMatchObject({ set: { state: 'unknown', error: { code } } });
  });

  it('is told to stop when it was cancelled', () => {
    expect(plan(board(), sent('a', { cancelRequested: true })).calls).toMatchObject([{ kind: 'cancel' }]);
  });
});

describe('a target that its board has', () => {
  it.each(['accepted', 'running'] as const)('is left alone while it is %s in the same session', (state) => {
    expect(plan(board(), sent('a', { state }))).toEqual({
      changes: [],
      calls: [],
      nextAt: undefined,
      hasOpen: true,
    });
  });

  it('is asked for in a new session', () => {
    const view = board({ session: { id: 'session-2', cell: 'default' } });
    expect(plan(view, sent('a', { state: 'running' })).calls).toMatchObject([{ kind: 'ask' }]);
  });
});
