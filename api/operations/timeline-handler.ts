/** `GET /v1/operations/{operation}/timeline`: what happened, and why it waits now. */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { findChosenBoards } from '../../common/db/queries/open-targets.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf, Schemas } from '../http/operation.ts';
import { type PageRequest, pageRequest, toPage } from '../http/paging.ts';
import { getOperationAccess } from './access.ts';
import { explainWaiting } from './waiting.ts';
import { findWaitingFacts } from './waiting-queries.ts';

const oldest = 'oldest';

export function createTimelineHandlers({ database }: ApiDeps): HandlersOf<'getOperationTimeline'> {
  return {
    async getOperationTimeline(request) {
      const page = pageRequest(request.query, oldest, ['number']);
      const { state, rows, facts } = await database.read(async (manager) => {
        const { id, state } = await getOperationAccess(manager, request);
        const { board } = request.query;
        const chosen = await findChosenBoards(manager, id, board === undefined ? undefined : [board]);
        return {
          state,
          rows: await listEvents(manager, id, chosen?.[0], page),
          facts: await findWaitingFacts(manager, id, chosen?.[0]),
        };
      });
      const body = toPage(rows, page.limit, oldest, toItem, (row) => [Number(row.id)]);
      return { status: 200, body: { state, ...body, waiting: explainWaiting(facts) } };
    },
  };
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
): Promise<TimelineRow[]> {
  const ofBoard = board === undefined ? '' : 'AND (board_uuid = ? OR board_uuid IS NULL)';
  return manager.query(
    `SELECT id, at, board_uuid AS board, kind, attempt, evidence FROM operation_events
     WHERE operation_id = ? ${ofBoard} AND id > ? ORDER BY id LIMIT ?`,
    [operationId, ...(board === undefined ? [] : [board]), page.after?.[0] ?? 0, page.limit + 1],
  );
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
