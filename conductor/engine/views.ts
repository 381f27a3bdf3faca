/** What the engine knows of a board and its open targets when it decides: read in one transaction with the claim. */
import type { BoardStatus } from '../../common/db/entities/boards.ts';
import type { Delivery } from '../../common/db/entities/operations.ts';
import type { TargetChange, TargetKey } from '../../common/db/queries/operation-changes.ts';
import type { ReportedTarget } from '../../common/operations/apply-report.ts';
import type { DailyWindow } from '../../common/operations/window.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { SafetyClass } from '../../common/wamp/contract.ts';

export interface BoardView {
  uuid: string;
  /** undefined = it was deleted. */
  status: BoardStatus | undefined;
  lastSeenAt: Date | null;
  session: { id: string; cell: string } | undefined;
  contractsHash: string | null;
  journalEpoch: string | null;
}

export interface OperationView {
  id: string;
  procedure: string;
  kwargs: JsonObject;
  delivery: Delivery;
  dailyWindow: DailyWindow | null;
  maxAttempts: number;
  parallel: boolean;
  targetCount: number;
}

/** A target in the queue of its board: not ended. */
export interface OpenTarget extends ReportedTarget, TargetKey {
  tenantId: string;
  version: number;
  deliveries: number;
  notBefore: Date | null;
  sessionId: string | null;
  journalEpoch: string | null;
  /** When its attempt was first sent. */
  dispatchedAt: Date | null;
  operation: OperationView;
  /** Of the procedure on the board as it is now; undefined = the board offers no such procedure. */
  contractSafety: SafetyClass | undefined;
}

export interface PlannedChange extends TargetChange {
  isOnly: boolean;
}

/** The target as it stands once the change is committed. */
export function changed(target: OpenTarget, { set }: TargetChange): OpenTarget {
  const { queue: _queue, wave: _wave, result: _result, ...values } = set;
  const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  return { ...target, ...given, version: target.version + 1 };
}

/** A change of the target that holds only while it is as it was seen. */
export function changeOf(
  target: OpenTarget,
  set: TargetChange['set'],
  event?: TargetChange['event'],
): PlannedChange {
  const { boardUuid, operationId, tenantId, version, state, operation } = target;
  return {
    boardUuid,
    operationId,
    tenantId,
    version,
    from: state,
    set,
    isOnly: operation.targetCount === 1,
    ...(event && { event }),
  };
}
