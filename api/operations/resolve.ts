/**
 * Targets whose outcome is `unknown`: the journals of their boards are asked. Such a target goes back
 * into the queue of its board as it is, which tells the conductor that holds the board to ask; the
 * answer, whatever it is, takes it out again.
 */
import type { Database } from '../../common/db/database.ts';
import { readyBoards } from '../../common/db/queries/board-queues.ts';
import { changeSelected } from '../../common/db/queries/open-targets.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { OperationAccess } from './access.ts';

/** Answers the boards that are to be asked. Throws AppError `conflict` when no target is unknown. */
export async function askJournals(
  database: Database,
  operation: OperationAccess,
  evidence: JsonObject,
): Promise<string[]> {
  const selection = { states: ['unknown'] as const, boards: null };
  const rows = await database.read(
    (manager) =>
      manager.query(
        "SELECT board_uuid AS uuid, queue FROM operation_targets WHERE operation_id = ? AND state = 'unknown'",
        [operation.id],
      ) as Promise<{ uuid: string; queue: number | null }[]>,
  );
  if (rows.length === 0)
    throw new AppError('conflict', 'no target of the operation is unknown', {
      details: { state: operation.state },
    });
  await changeSelected({
    database,
    operationId: operation.id,
    selection: { ...selection, where: 't.queue IS NULL' },
    change: ({ boardUuid, operationId, tenantId, version, state, attempt }) => ({
      boardUuid,
      operationId,
      tenantId,
      version,
      from: state,
      set: { queue: 1 },
      event: { kind: 'resolve-asked', attempt, evidence },
    }),
    also: readyBoards,
  });
  return rows.map(({ uuid }) => uuid);
}
