/** Points that a sink refused: looked at, sent again, dropped; and a point to try it with. */
import { AppError } from '../../common/runtime/app-error.ts';
import type { WakeClient } from '../../common/wake/wake-client.ts';
import type { ApiDeps } from '../deps.ts';
import type { HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { versionTag } from '../http/versions.ts';
import { auditSink, findSink, type LetterOperations } from './one-sink.ts';
import {
  dropLetters,
  insertTestPoint,
  listLetterRows,
  readSinkRow,
  replayLetters,
  type SinkRow,
  toLetter,
  toSink,
} from './sink-rows.ts';

const newest = 'newest';

export function createLetterHandlers(
  { database }: ApiDeps,
  wake: Pick<WakeClient, 'wake'>,
): HandlersOf<LetterOperations> {
  return {
    async testSink(request) {
      const row = await database.transaction(async (manager) => {
        const sink = await readSinkRow(manager, (await findSink(manager, request)).id);
        requireActive(sink);
        await insertTestPoint(manager, sink.id);
        await auditSink(manager, request, sink);
        return sink;
      });
      wake.wake({ consumers: [row.id] });
      return { status: 202, headers: versionTag(row.version), body: toSink(row) };
    },

    async listSinkDeadLetters(request) {
      const page = pageRequest(request.query, newest, ['number']);
      const rows = await database.read(async (manager) =>
        listLetterRows(manager, (await findSink(manager, request)).id, page),
      );
      return { status: 200, body: toPage(rows, page.limit, newest, toLetter, (row) => [Number(row.id)]) };
    },

    async replaySinkDeadLetters(request) {
      const { upTo } = request.body ?? {};
      const { id, count } = await database.transaction(async (manager) => {
        const sink = await readSinkRow(manager, (await findSink(manager, request)).id);
        requireActive(sink);
        const letters = await replayLetters(manager, sink.id, upTo);
        await auditSink(manager, request, sink, { letters });
        return { id: sink.id, count: letters };
      });
      wake.wake({ consumers: [id] });
      return { status: 202, body: { count } };
    },

    async dropSinkDeadLetters(request) {
      const { upTo } = request.query;
      const count = await database.transaction(async (manager) => {
        const sink = await readSinkRow(manager, (await findSink(manager, request)).id);
        const letters = await dropLetters(manager, sink.id, upTo);
        await auditSink(manager, request, sink, { letters });
        return letters;
      });
      return { status: 200, body: { count } };
    },
  };
}

/** Throws AppError `conflict` for one that sends nothing. */
function requireActive({ state }: SinkRow): void {
  if (state !== 'active') throw new AppError('conflict', `the sink is ${state}; resume it first`);
}
