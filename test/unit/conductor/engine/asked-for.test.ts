/** Targets that are unknown, and whose boards somebody wants to be asked. */
import { describe, expect, it } from 'vitest';
import type { OperationReport } from '../../../../common/wamp/operations.ts';
import { decide } from '../../../../conductor/engine/decide.ts';
import { judgeStatus } from '../../../../conductor/engine/outcomes.ts';
import type { BoardView, OpenTarget } from '../../../../conductor/engine/views.ts';

const now = Date.UTC(2026, 0, 1);
const rules = { graceMs: 1000, maxRuns: 4, conductor: 'c' };
const context = { conductor: 'c', now };
const error = { code: 'no-answer', message: 'no answer came' };

const board = (values: Partial<BoardView> = {}): BoardView => ({
  uuid: 'b',
  status: 'online',
  lastSeenAt: null,
  session: { id: 's', cell: 'c' },
  contractsHash: 'h',
  journalEpoch: 'j',
  ...values,
});
const target: OpenTarget = {
  boardUuid: 'b',
  operationId: 'o',
  tenantId: 't',
  state: 'unknown',
  version: 3,
  attempt: 1,
  maxAttempts: 1,
  deliveries: 1,
  safety: 'at-most-once',
  notBefore: null,
  deadlineAt: new Date(now - 60_000),
  cancelRequested: false,
  sessionId: 'old',
  journalEpoch: 'j',
  progress: null,
  error,
  dispatchedAt: new Date(now - 120_000),
  acceptedAt: null,
  operation: {
    id: 'o',
    procedure: 'pulse',
    kwargs: {},
    delivery: 'when-online',
    dailyWindow: null,
    maxAttempts: 1,
    parallel: false,
    targetCount: 1,
  },
  contractSafety: 'at-most-once',
};
const answer = (report?: Partial<OperationReport>) => ({
  journalEpoch: 'j',
  since: now - 1_000_000,
  reports: report ? [{ operationId: 'o', attempt: 1, state: 'succeeded' as const, ...report }] : [],
  missing: report ? [] : ['o'],
});
const judged = (report?: Partial<OperationReport>) =>
  judgeStatus(target, answer(report), 'status', 's', context).change?.set;

describe('an unknown target in the queue', () => {
  it('has its board asked when it is online, however late it is', () => {
    const { calls, changes } = decide(board(), [target], now, rules);
    expect(changes).toEqual([]);
    expect(calls).toMatchObject([{ kind: 'ask', targets: [{ operationId: 'o' }] }]);
  });

  it('waits for its board, and keeps no other target waiting', () => {
    const offline = decide(board({ status: 'offline', session: undefined }), [target], now, rules);
    expect(offline).toMatchObject({ calls: [], changes: [], hasOpen: true, nextAt: undefined });
    const next: OpenTarget = {
      ...target,
      operationId: 'p',
      state: 'queued',
      deadlineAt: new Date(now + 60_000),
      attempt: 0,
    };
    expect(decide(board(), [target, next], now, rules).calls.map(({ kind }) => kind)).toEqual(['run', 'ask']);
  });

  it('leaves the queue as it was when nobody is there to be asked any more', () => {
    const { changes } = decide(board({ status: 'revoked', session: undefined }), [target], now, rules);
    expect(changes).toMatchObject([{ set: { state: 'unknown', error } }]);
  });

  it('becomes what the journal says', () => {
    expect(judged({ state: 'succeeded', result: 7 })).toMatchObject({ state: 'succeeded', result: 7 });
    expect(judged({ state: 'failed' })).toMatchObject({ state: 'failed' });
  });

  it('leaves the queue when the journal does not know, or not yet', () => {
    expect(judged()).toMatchObject({ state: 'unknown', error: { code: 'journal-lost' } });
    expect(judged({ state: 'running' })).toMatchObject({ state: 'unknown', error });
    expect(judged({ state: 'interrupted' })).toMatchObject({ state: 'unknown' });
  });
});
