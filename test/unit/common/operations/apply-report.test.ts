import { describe, expect, it } from 'vitest';
import {
  applyReport,
  nextDelivery,
  type ReportDecision,
  type ReportedTarget,
  type ReportSource,
} from '../../../../common/operations/apply-report.ts';
import { mayBecome, type TargetState, targetStates } from '../../../../common/operations/states.ts';
import { scheduledOperationId } from '../../../../common/wamp/board-schedules.ts';
import { type OperationReport, reportStates } from '../../../../common/wamp/operations.ts';

const now = 1_795_608_000_000;
const source: ReportSource = {
  via: 'result',
  sessionId: '11111111-1111-4111-8111-111111111111',
  journalEpoch: '22222222-2222-4222-8222-222222222222',
  heardBy: '33333333-3333-4333-8333-333333333333',
};
const target: ReportedTarget = {
  state: 'running',
  attempt: 1,
  maxAttempts: 1,
  cancelRequested: false,
  safety: 'journaled',
  deadlineAt: new Date(now + 60_000),
  acceptedAt: new Date(now - 1000),
  progress: null,
  error: null,
};
const report: OperationReport = {
  operationId: '44444444-4444-4444-8444-444444444444',
  attempt: 1,
  state: 'succeeded',
};
const failure = { code: 'procedure-failed', message: 'no' };

function decide(
  of: Partial<ReportedTarget>,
  said: Partial<OperationReport>,
  random = () => 0.5,
): ReportDecision {
  return applyReport({ ...target, ...of }, { ...report, ...said }, source, { now, random });
}

describe('a report of an attempt that is under way', () => {
  it('ends its target with the result, and clears what belongs to the run', () => {
    const said = { result: { level: 3 }, startedAt: now - 500, endedAt: now, runs: 1 };
    expect(decide({ progress: { percent: 50 }, error: failure }, said)).toEqual({
      kind: 'change',
      values: {
        state: 'succeeded',
        sessionId: source.sessionId,
        journalEpoch: source.journalEpoch,
        progress: null,
        result: { level: 3 },
        error: null,
      },
      event: {
        kind: 'succeeded',
        attempt: 1,
        evidence: {
          ...source,
          report: 'succeeded',
          startedAt: new Date(now - 500).toISOString(),
          endedAt: new Date(now).toISOString(),
          runs: 1,
        },
      },
    });
  });

  it('writes a result of nothing as null', () => {
    expect(decide({}, {})).toMatchObject({ values: { result: null } });
  });

  it('counts also when the answer to its dispatch was lost', () => {
    for (const state of ['queued', 'dispatched', 'accepted'] as const)
      expect(decide({ state, acceptedAt: null }, {})).toMatchObject({
        kind: 'change',
        values: { state: 'succeeded', acceptedAt: new Date(now) },
      });
  });

  it('moves forward, never back', () => {
    expect(decide({ state: 'dispatched', acceptedAt: null }, { state: 'accepted' })).toMatchObject({
      values: { state: 'accepted', acceptedAt: new Date(now) },
      event: { kind: 'accepted' },
    });
    expect(decide({ state: 'accepted' }, { state: 'running' })).toMatchObject({
      values: { state: 'running' },
    });
    expect(decide({ state: 'running' }, { state: 'accepted' })).toEqual({ kind: 'ignore', why: 'known' });
    expect(decide({ state: 'running' }, { state: 'running' })).toEqual({ kind: 'ignore', why: 'known' });
  });

  it('brings progress when it is news', () => {
    const progress = { percent: 10, message: 'begun' };
    expect(decide({}, { state: 'running', progress })).toMatchObject({
      values: { progress },
      event: { kind: 'progress', evidence: { progress } },
    });
    expect(decide({ progress }, { state: 'running', progress })).toMatchObject({ kind: 'ignore' });
  });

  it.each([
    ['expired', 'expired', 'deadline-exceeded'],
    ['cancelled', 'cancelled', 'cancelled'],
    ['interrupted', 'unknown', 'interrupted'],
    ['failed', 'failed', 'procedure-failed'],
  ] as const)('that is %s ends it as %s, with a word why', (state, end, code) => {
    expect(decide({}, { state })).toMatchObject({
      values: { state: end, error: { code } },
      event: { kind: end },
    });
  });
});

describe('a failure', () => {
  const failed = { state: 'failed', error: failure } as const;

  it('goes back to the queue while attempts are left, as the next attempt', () => {
    expect(decide({ maxAttempts: 3 }, failed)).toMatchObject({
      kind: 'change',
      values: {
        state: 'queued',
        attempt: 2,
        deliveries: 0,
        notBefore: new Date(now + 500),
        acceptedAt: null,
      },
      event: { kind: 'retry', attempt: 1, evidence: { error: failure } },
    });
    expect(nextDelivery({ attempt: 2, deliveries: 0 })).toEqual({ attempt: 2, deliveries: 1 });
    expect(nextDelivery({ attempt: 0, deliveries: 0 })).toEqual({ attempt: 1, deliveries: 1 });
  });

  it('waits longer each time, and never more than a minute', () => {
    const waitOf = (attempt: number) => {
      const decision = decide({ attempt, maxAttempts: 100 }, { ...failed, attempt }, () => 0.999);
      return decision.kind === 'change' ? Number(decision.values.notBefore) - now : undefined;
    };
    expect([1, 2, 4, 7, 40].map(waitOf)).toEqual([999, 1998, 7992, 59_940, 59_940]);
  });

  it('that is repeated is known as old', () => {
    expect(decide({ state: 'queued', attempt: 2, maxAttempts: 3 }, failed)).toEqual({
      kind: 'ignore',
      why: 'older-attempt',
    });
  });

  it.each([
    ['the last attempt', {}, failed],
    ['a cancelled operation', { maxAttempts: 3, cancelRequested: true }, failed],
    ['a passed deadline', { maxAttempts: 3, deadlineAt: new Date(now) }, failed],
    [
      'arguments that stay wrong',
      { maxAttempts: 3 },
      { ...failed, error: { code: 'invalid-arguments', message: '' } },
    ],
    [
      'a procedure that is not there',
      { maxAttempts: 3 },
      { ...failed, error: { code: 'procedure-not-found', message: '' } },
    ],
    [
      'a run broken off that may not run twice',
      { maxAttempts: 3 },
      { ...failed, error: { code: 'interrupted', message: '' } },
    ],
    ['a target that was given up as unknown', { maxAttempts: 3, state: 'unknown' }, failed],
  ] as const)('ends it for %s', (_, of, said) => {
    expect(decide(of, said)).toMatchObject({ values: { state: 'failed', error: said.error } });
  });

  it('of a run broken off is tried again where the procedure may run twice', () => {
    const error = { code: 'interrupted', message: 'the agent died' };
    expect(decide({ maxAttempts: 2, safety: 'idempotent' }, { ...failed, error })).toMatchObject({
      values: { state: 'queued' },
    });
  });
});

describe('a late report', () => {
  it('of the same end is known', () => {
    expect(decide({ state: 'succeeded' }, {})).toEqual({ kind: 'ignore', why: 'known' });
    expect(decide({ state: 'unknown', error: { code: 'interrupted' } }, { state: 'interrupted' })).toEqual({
      kind: 'ignore',
      why: 'known',
    });
  });

  it('that contradicts an end changes nothing, and is noted', () => {
    expect(decide({ state: 'cancelled' }, {})).toMatchObject({
      kind: 'ignore',
      why: 'late',
      event: { kind: 'late-report', evidence: { report: 'succeeded' } },
    });
    expect(decide({ state: 'failed' }, { state: 'running' })).toEqual({ kind: 'ignore', why: 'late' });
  });

  it('of its attempt puts an unknown target right', () => {
    for (const state of ['succeeded', 'failed', 'expired', 'cancelled'] as const)
      expect(decide({ state: 'unknown', error: { code: 'unavailable' } }, { state })).toMatchObject({
        kind: 'change',
        values: { state },
      });
    expect(decide({ state: 'unknown', error: { code: 'x' } }, { state: 'interrupted' })).toMatchObject({
      values: { state: 'unknown', error: { code: 'interrupted' } },
    });
    expect(decide({ state: 'unknown' }, { state: 'running' })).toEqual({ kind: 'ignore', why: 'late' });
  });

  it('of an older attempt changes nothing; a success is noted', () => {
    expect(decide({ attempt: 2 }, {})).toMatchObject({
      why: 'older-attempt',
      event: { kind: 'late-report' },
    });
    expect(decide({ attempt: 2 }, { state: 'failed' })).toEqual({ kind: 'ignore', why: 'older-attempt' });
  });

  it('of an attempt that nobody asked for changes nothing', () => {
    expect(decide({}, { attempt: 2 })).toMatchObject({ kind: 'ignore', why: 'unknown-attempt' });
  });
});

describe('a report of a due time that the board met by itself', () => {
  const schedule = { scheduleId: source.heardBy, dueAt: now };
  const operationId = scheduledOperationId(source.heardBy, now);

  it('counts for an operation that was never sent', () => {
    expect(
      decide({ state: 'queued', attempt: 0, acceptedAt: null }, { operationId, schedule }),
    ).toMatchObject({
      kind: 'change',
      values: { state: 'succeeded', attempt: 1 },
    });
    expect(decide({ state: 'queued', attempt: 0 }, {})).toMatchObject({ kind: 'ignore' });
  });

  it('does not count for an operation that was never sent and is none of the schedule', () => {
    const unsent = { state: 'queued', attempt: 0, acceptedAt: null } as const;
    expect(decide(unsent, { schedule })).toEqual({
      kind: 'ignore',
      why: 'unknown-attempt',
      event: expect.anything(),
    });
    const later = { ...schedule, dueAt: now + 1 };
    expect(decide(unsent, { operationId, schedule: later })).toMatchObject({ kind: 'ignore' });
    expect(decide(unsent, { operationId, schedule, attempt: 7 })).toMatchObject({ kind: 'ignore' });
  });
});

describe('any report for any target', () => {
  it('asks only for changes that a target may make', () => {
    const decisions = targetStates.flatMap((from) =>
      reportStates.flatMap((state) =>
        [1, 3].map((maxAttempts): [TargetState, ReportDecision] => [
          from,
          decide({ state: from, maxAttempts }, { state }),
        ]),
      ),
    );
    for (const [from, decision] of decisions) {
      if (decision.kind === 'change' && decision.values.state !== undefined)
        expect([from, decision.values.state, mayBecome(from, decision.values.state)]).toEqual([
          from,
          decision.values.state,
          true,
        ]);
    }
  });
});
