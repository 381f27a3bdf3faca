import { describe, expect, it } from 'vitest';
import { AppError } from '../../../../common/runtime/app-error.ts';
import type { OperationReport, ReportState } from '../../../../common/wamp/operations.ts';
import {
  judgeRunAnswer,
  judgeRunFailure,
  judgeStatus,
  judgeStatusFailure,
} from '../../../../conductor/engine/outcomes.ts';
import { epoch, now, sent } from './support.ts';

const context = { conductor: 'conductor-1', now };
const reported = (state: ReportState, more: Partial<OperationReport> = {}): OperationReport => ({
  operationId: 'a',
  attempt: 1,
  state,
  ...more,
});
const failure = (code: 'board-offline' | 'relay-unavailable' | 'procedure-not-found', mayHaveRun?: boolean) =>
  new AppError(code, 'no', { details: mayHaveRun === undefined ? {} : { mayHaveRun } });

describe('the answer of a run', () => {
  it.each(['succeeded', 'failed', 'expired', 'cancelled', 'running', 'accepted'] as const)(
    'is taken: %s',
    (state) => {
      const outcome = judgeRunAnswer(sent('a'), { journalEpoch: epoch, report: reported(state) }, context);
      expect(outcome).toMatchObject({ change: { set: { state } }, again: undefined, label: state });
    },
  );

  it('that ended with files leaves it running until they are in the store', () => {
    const artifacts = [{ name: 'log', mediaType: 'text/plain', size: 1, sha256: '0'.repeat(64) }];
    const report = reported('succeeded', { result: 1, artifacts });
    const outcome = judgeRunAnswer(sent('a'), { journalEpoch: epoch, report }, context);
    expect(outcome.change?.set).toMatchObject({ state: 'running' });
    expect(outcome.change?.set.result).toBeUndefined();
  });

  it.each(['journal-lost', 'stale-attempt'] as const)(
    'that refuses it with %s makes it unknown',
    (refusal) => {
      const { change } = judgeRunAnswer(sent('a'), { journalEpoch: 'other', refusal }, context);
      expect(change?.set).toMatchObject({ state: 'unknown', error: { code: refusal } });
    },
  );

  it('without a report says nothing: it stays dispatched', () => {
    const outcome = judgeRunAnswer(sent('a'), { journalEpoch: epoch }, context);
    expect(outcome).toMatchObject({ change: { set: {}, event: { kind: 'no-answer' } }, again: 'backoff' });
  });
});

describe('a run without an answer', () => {
  it('that never reached the board is queued again, as the same attempt', () => {
    const outcome = judgeRunFailure(sent('a', { attempt: 2 }), failure('relay-unavailable', false), context);
    expect(outcome).toMatchObject({ again: 'backoff', label: 'not-delivered' });
    expect(outcome.change?.set).toEqual({
      state: 'queued',
      deliveries: 0,
      dispatchedAt: null,
      journalEpoch: null,
    });
    expect(outcome.change?.event).toMatchObject({ kind: 'not-delivered', attempt: 2 });
  });

  it('waits for a board that is not there', () => {
    expect(judgeRunFailure(sent('a'), failure('board-offline', false), context).again).toBe('board');
  });

  it.each([true, undefined])('that may have reached it stays dispatched (mayHaveRun %s)', (mayHaveRun) => {
    const outcome = judgeRunFailure(sent('a'), failure('relay-unavailable', mayHaveRun), context);
    expect(outcome).toMatchObject({ change: { set: {}, event: { kind: 'no-answer' } }, again: 'backoff' });
    expect(outcome.change?.set.state).toBeUndefined();
  });

  it('stays dispatched when an earlier delivery may have reached it', () => {
    const outcome = judgeRunFailure(
      sent('a', { deliveries: 2 }),
      failure('relay-unavailable', false),
      context,
    );
    expect(outcome.change?.set.state).toBeUndefined();
  });

  it('is looked at again at once when it may not be sent twice', () => {
    const once = sent('a', { safety: 'at-most-once' });
    expect(judgeRunFailure(once, failure('relay-unavailable', true), context).again).toBe('now');
  });

  it.each(['unavailable', 'too_many_calls'])(
    'is queued again, with a rest, when the board says that it took nothing (%s)',
    (code) => {
      const error = new AppError('procedure-failed', 'no room', {
        details: { error: `boardwalk.error.${code}`, message: 'no room', details: {} },
      });
      const outcome = judgeRunFailure(sent('a', { safety: 'at-most-once' }), error, context);
      expect(outcome).toMatchObject({ change: { set: { state: 'queued' } }, again: 'backoff' });
    },
  );

  it('fails when the board itself says that it cannot take it', () => {
    const { change } = judgeRunFailure(sent('a'), failure('procedure-not-found', true), context);
    expect(change?.set).toMatchObject({ state: 'failed', error: { code: 'procedure-not-found' } });
  });

  it('counts as one that may have run whatever is thrown', () => {
    expect(judgeRunFailure(sent('a'), new Error('a fault of ours'), context).label).toBe('no-answer');
  });
});

describe('the answer of a question', () => {
  const before = now - 7_200_000;
  const answer = (reports: OperationReport[], since = before, journalEpoch = epoch) => ({
    journalEpoch,
    since,
    reports,
    missing: reports.length === 0 ? ['a'] : [],
  });
  const judge = (target = sent('a'), said = answer([])) =>
    judgeStatus(target, said, 'status', 'session-2', context);

  it('is taken as a report', () => {
    const { change } = judge(sent('a'), answer([reported('succeeded', { result: 1 })]));
    expect(change?.set).toMatchObject({ state: 'succeeded', result: 1, sessionId: 'session-2' });
  });

  it('that tells nothing new is remembered for the new session', () => {
    const { change } = judge(sent('a', { state: 'running' }), answer([reported('running')]));
    expect(change?.set).toEqual({ sessionId: 'session-2' });
    expect(change?.event).toBeUndefined();
  });

  it.each(['at-most-once', 'journaled', 'idempotent'])(
    'that it is missing in a journal from before is proof that it never arrived (%s)',
    (safety) => {
      const { change } = judge(sent('a', { safety }));
      expect(change?.set).toMatchObject({ state: 'queued', deliveries: 0 });
      expect(change?.event).toMatchObject({ kind: 'never-arrived' });
    },
  );

  it('ends what never arrived when it was cancelled, or is over its deadline', () => {
    expect(judge(sent('a', { cancelRequested: true })).change?.set.state).toBe('cancelled');
    expect(judge(sent('a', { deadlineAt: new Date(now) })).change?.set.state).toBe('expired');
  });

  it.each([
    ['a journal that began later', sent('a'), answer([], now - 1000)],
    ['a journal that began at about that time', sent('a'), answer([], now - 3_600_000 - 5000)],
    ['another journal', sent('a'), answer([], before, 'another')],
    ['a journal that had it before', sent('a', { state: 'running' }), answer([])],
  ])('leaves it unknown that it is missing in %s', (_what, target, said) => {
    expect(judge(target, said).change?.set).toMatchObject({
      state: 'unknown',
      error: { code: 'journal-lost' },
    });
  });

  it('never came: unknown for what may not be sent twice, else asked for again', () => {
    const error = failure('relay-unavailable', true);
    const once = judgeStatusFailure(sent('a', { safety: 'at-most-once' }), error, context);
    expect(once.change?.set).toMatchObject({ state: 'unknown', error: { code: 'no-answer' } });
    const running = judgeStatusFailure(sent('a', { state: 'running' }), error, context);
    expect(running).toMatchObject({ change: undefined, again: 'backoff' });
  });
});
