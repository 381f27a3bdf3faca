/** Targets as a decision on a report needs them. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import type { TargetKey } from '../../common/db/queries/operation-changes.ts';
import type { ReportedTarget } from '../../common/operations/apply-report.ts';
import type { OperationState } from '../../common/operations/states.ts';

export interface TargetOfBoard extends ReportedTarget, TargetKey {
  tenantId: string;
  version: number;
  /** Of its operation. */
  targetCount: number;
  operationState: OperationState;
}

export const keyOf = ({ boardUuid, operationId }: TargetKey) => `${boardUuid} ${operationId}`;

/** By `keyOf`. Reads without a lock: whoever changes a target does so by compare-and-set. */
export async function findTargets(
  manager: EntityManager,
  keys: readonly TargetKey[],
): Promise<Map<string, TargetOfBoard>> {
  const byBoard = Map.groupBy(keys, (each) => each.boardUuid);
  if (byBoard.size === 0) return new Map();
  const rows = (await manager.query(
    `SELECT t.board_uuid AS boardUuid, t.operation_id AS operationId, t.tenant_id AS tenantId, t.version,
            t.state, t.attempt, t.cancel_requested AS cancelRequested, t.safety, t.deadline_at AS deadlineAt,
            t.accepted_at AS acceptedAt, t.progress, t.error, o.max_attempts AS maxAttempts,
            o.target_count AS targetCount, o.state AS operationState
     FROM operation_targets t JOIN operations o ON o.id = t.operation_id
     WHERE ${[...byBoard].map(() => '(t.board_uuid = ? AND t.operation_id IN (?))').join(' OR ')}`,
    [...byBoard].flatMap(([boardUuid, ofBoard]) => [boardUuid, ofBoard.map((each) => each.operationId)]),
  )) as (TargetOfBoard & { cancelRequested: unknown; progress: unknown; error: unknown })[];
  return new Map(
    rows.map((row) => [
      keyOf(row),
      {
        ...row,
        cancelRequested: Boolean(row.cancelRequested),
        progress: fromJsonColumn(row.progress),
        error: fromJsonColumn(row.error),
      },
    ]),
  );
}
