/** Rows of `operation_events`: what happened to an operation or one of its targets, with the evidence. */
import type { EntityManager } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';

export interface NewOperationEvent {
  operationId: string;
  boardUuid: string | null;
  kind: string;
  attempt?: number;
  evidence: JsonObject;
}

const rowsPerStatement = 1000;
/** Servers refuse statements above 16 MiB, unless told otherwise. */
const bytesPerStatement = 4 * 1024 * 1024;

/** Parts of so many items, and of fewer when they are large. */
export function inParts<T>(items: readonly T[], most: number, bytesOf: (item: T) => number): T[][] {
  const parts: T[][] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item);
    const last = parts.at(-1);
    if (last && last.length < most && bytes + size <= bytesPerStatement) {
      last.push(item);
      bytes += size;
    } else {
      parts.push([item]);
      bytes = size;
    }
  }
  return parts;
}

export async function insertOperationEvents(
  manager: EntityManager,
  events: readonly NewOperationEvent[],
): Promise<void> {
  const rows = events.map(({ operationId, boardUuid, kind, attempt, evidence }) => [
    operationId,
    boardUuid,
    kind,
    attempt ?? null,
    JSON.stringify(evidence),
  ]);
  for (const part of inParts(rows, rowsPerStatement, (row) => String(row[4]).length))
    await manager.query(
      `INSERT INTO operation_events (operation_id, board_uuid, kind, attempt, evidence, at)
       VALUES ${part.map(() => '(?, ?, ?, ?, ?, UTC_TIMESTAMP(3))').join(', ')}`,
      part.flat(),
    );
}
