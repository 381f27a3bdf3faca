/** `GET /v1/operations/{operation}/timeline`: what happened, and why it waits now. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { findChosenBoards } from '../../common/db/queries/open-targets.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Principal } from '../auth/principal.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf, Schemas } from '../http/operation.ts';
import { type PageRequest, pageRequest, toPage } from '../http/paging.ts';
import { getOperationAccess } from './access.ts';
import { fitting, pageBytes } from './target-queries.ts';
import { another, explainWaiting, type WaitingFacts, type WaitingTarget } from './waiting.ts';
import { findWaitingFacts } from './waiting-queries.ts';

const oldest = 'oldest';

export function createTimelineHandlers({ database }: ApiDeps): HandlersOf<'getOperationTimeline'> {
  return {
    async getOperationTimeline(request) {
      const page = pageRequest(request.query, oldest, ['number']);
      const { state, rows, limit, facts } = await database.read(async (manager) => {
        const { id, state } = await getOperationAccess(manager, request);
        const { board } = request.query;
        const chosen = await findChosenBoards(manager, id, board === undefined ? undefined : [board]);
        return {
          state,
          ...(await listEvents(manager, id, chosen?.[0], page)),
          facts: knownFacts(await findWaitingFacts(manager, id, chosen?.[0]), request.principal),
        };
      });
      const body = toPage(rows, limit, oldest, toItem, (row) => [Number(row.id)]);
      return { status: 200, body: { state, ...body, waiting: explainWaiting(facts) } };
    },
  };
}

/** A key that is limited to boards learns of no operation that it did not make: only that there is one. */
function knownFacts(facts: WaitingFacts, { scope }: Principal): WaitingFacts {
  if (scope.boards === null) return facts;
  const hidden = (each: WaitingTarget) => (each.behind === null ? each : { ...each, behind: another });
  return { ...facts, targets: facts.targets.map(hidden) };
}

interface TimelineRow {
  id: number | string;
  at: Date;
  board: string | null;
  kind: string;
  attempt: number | null;
  evidence: string | JsonObject;
}

/** What concerns the operation as a whole belongs to the timeline of each of its boards. */
async function listEvents(
  manager: EntityManager,
  operationId: string,
  board: string | undefined,
  page: PageRequest,
): Promise<{ rows: TimelineRow[]; limit: number }> {
  const ofBoard = board === undefined ? '' : 'AND (board_uuid = ? OR board_uuid IS NULL)';
  const from = `FROM operation_events WHERE operation_id = ? ${ofBoard} AND id > ? ORDER BY id LIMIT ?`;
  const values = [operationId, ...(board === undefined ? [] : [board]), page.after?.[0] ?? 0];
  // Evidence holds what boards say of errors and progress.
  const sizes = (await manager.query(`SELECT OCTET_LENGTH(evidence) AS bytes ${from}`, [
    ...values,
    page.limit,
  ])) as { bytes: number | string }[];
  const limit = fitting(sizes, page.limit, pageBytes);
  const rows = await manager.query(`SELECT id, at, board_uuid AS board, kind, attempt, evidence ${from}`, [
    ...values,
    limit + 1,
  ]);
  return { rows, limit };
}

function toItem({
  at,
  board,
  kind,
  attempt,
  evidence,
}: TimelineRow): Schemas['OperationTimeline']['items'][number] {
  return {
    at: at.toISOString(),
    board,
    kind,
    attempt,
    evidence: fromJsonColumn<JsonObject | null>(evidence) ?? {},
  };
}
