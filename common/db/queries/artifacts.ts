/** Rows of `artifacts`: what boards have sent of their operations' files. */
import type { EntityManager } from 'typeorm';
import type { ArtifactReport } from '../../wamp/operations.ts';

/** An attempt on a board, with the artifacts that its end speaks of. */
export interface AttemptArtifacts {
  boardUuid: string;
  operationId: string;
  attempt: number;
  artifacts: readonly ArtifactReport[];
}

const keyOf = (operationId: string, boardUuid: string, attempt: number, name: string, sha256: string) =>
  `${operationId} ${boardUuid} ${attempt} ${sha256} ${name}`;

/**
 * Those of the attempts whose artifacts are not all in the store: an end with artifacts is taken only
 * when they are, else nobody could ever have them.
 */
export async function findIncomplete<T extends AttemptArtifacts>(
  manager: EntityManager,
  attempts: readonly T[],
): Promise<T[]> {
  const asked = attempts.filter(({ artifacts }) => artifacts.length > 0);
  if (asked.length === 0) return [];
  const rows = (await manager.query(
    `SELECT operation_id AS operationId, board_uuid AS boardUuid, attempt, name, sha256 FROM artifacts
     WHERE operation_id IN (?) AND board_uuid IN (?) AND state = 'complete'`,
    [[...new Set(asked.map((each) => each.operationId))], [...new Set(asked.map((each) => each.boardUuid))]],
  )) as { operationId: string; boardUuid: string; attempt: number; name: string; sha256: string }[];
  const complete = new Set(
    rows.map((row) => keyOf(row.operationId, row.boardUuid, row.attempt, row.name, row.sha256)),
  );
  return asked.filter(({ operationId, boardUuid, attempt, artifacts }) =>
    artifacts.some(({ name, sha256 }) => !complete.has(keyOf(operationId, boardUuid, attempt, name, sha256))),
  );
}
