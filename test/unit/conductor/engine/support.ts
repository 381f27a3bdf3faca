/** A board and its targets as the engine reads them. */
import type { BoardView, OpenTarget, OperationView } from '../../../../conductor/engine/views.ts';

export const now = Date.parse('2026-11-25T12:00:00Z');
export const rules = { graceMs: 60_000, maxRuns: 8, conductor: 'conductor-1' };
export const epoch = '11111111-1111-4111-8111-111111111111';

export function board(values: Partial<BoardView> = {}): BoardView {
  return {
    uuid: 'board-1',
    status: 'online',
    lastSeenAt: new Date(now - 1000),
    session: { id: 'session-1', cell: 'default' },
    contractsHash: 'hash',
    journalEpoch: epoch,
    ...values,
  };
}

export const offline = { status: 'offline', session: undefined } as const;

export function target(
  id: string,
  values: Partial<OpenTarget> = {},
  operation: Partial<OperationView> = {},
): OpenTarget {
  return {
    boardUuid: 'board-1',
    operationId: id,
    tenantId: 'tenant-1',
    version: 1,
    state: 'queued',
    attempt: 0,
    maxAttempts: 1,
    deliveries: 0,
    safety: null,
    notBefore: null,
    deadlineAt: new Date(now + 600_000),
    cancelRequested: false,
    sessionId: null,
    journalEpoch: null,
    progress: null,
    error: null,
    dispatchedAt: null,
    acceptedAt: null,
    contractSafety: 'idempotent',
    ...values,
    operation: {
      id,
      procedure: 'system.echo',
      kwargs: {},
      delivery: 'when-online',
      dailyWindow: null,
      maxAttempts: 1,
      parallel: false,
      targetCount: 1,
      ...operation,
    },
  };
}

/** One that was sent, an hour ago unless said otherwise. */
export function sent(id: string, values: Partial<OpenTarget> = {}, operation: Partial<OperationView> = {}) {
  return target(
    id,
    {
      state: 'dispatched',
      attempt: 1,
      deliveries: 1,
      safety: 'idempotent',
      sessionId: 'session-1',
      journalEpoch: epoch,
      dispatchedAt: new Date(now - 3_600_000),
      ...values,
    },
    operation,
  );
}
