import type { Database } from '../../common/db/database.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { streamNamePattern } from '../../common/wamp/readings.ts';
import { getBoardAccess } from '../access.ts';
import { type ApiRequest, type HandlersOf, type Schemas, streamed } from '../http/operation.ts';
import { type CursorValue, pageRequest, toPage } from '../http/paging.ts';
import { listCompleteness } from './completeness.ts';
import { getReadings } from './get-readings.ts';
import { csv, exportRaw, type LineFormat, ndjson } from './raw-export.ts';
import { toValue } from './raw-queries.ts';
import { findStreams, listStreams, type StreamRow } from './stream-queries.ts';
import { invalid, parseResolution, parseWindow } from './window.ts';

type ReadingsOperations = 'listStreams' | 'getReadings' | 'getCompleteness';

export interface ReadingsDeps {
  database: Database;
  /** Aborted when the process is asked to stop. */
  stopping: AbortSignal;
}

const order = 'name';
const defaultMaxPoints = 1000;
const formats: readonly LineFormat[] = [ndjson, csv];

export function createReadingsHandlers({ database, stopping }: ReadingsDeps): HandlersOf<ReadingsOperations> {
  async function findAskedFor(request: ApiRequest<'getReadings'>): Promise<StreamRow[]> {
    // A parameter that is given once may come as a text and not as a list of one.
    const names = [request.query.stream].flat();
    const found = await database.read(async (manager) => {
      const board = await getBoardAccess(manager, request);
      return findStreams(manager, board.uuid, names);
    });
    const missing = names.filter((name) => !found.some((stream) => stream.name === name));
    if (missing.length > 0)
      throw new AppError('not-found', 'the board has no such stream', { details: { streams: missing } });
    return names.map((name) => found.find((stream) => stream.name === name) as StreamRow);
  }

  return {
    async listStreams(request) {
      const page = pageRequest(request.query, order, ['text']);
      const rows = await database.read(async (manager) => {
        const board = await getBoardAccess(manager, request);
        return listStreams(manager, board.uuid, page.limit + 1, afterName(page.after?.[0]));
      });
      return { status: 200, body: toPage(rows, page.limit, order, toStream, (row) => [row.name]) };
    },

    async getReadings(request) {
      const { query, http } = request;
      const window = parseWindow(query, Date.now());
      const streams = await findAskedFor(request);
      const format = wantedFormat(request);
      if (format) {
        await exportRaw({ database, response: http.response, streams, window, format, stopping });
        return streamed;
      }
      const body = await database.transaction((manager) =>
        getReadings(manager, {
          streams,
          window,
          maxPoints: query.maxPoints ?? defaultMaxPoints,
          resolution: parseResolution(query.resolution),
          cursor: query.cursor,
        }),
      );
      return { status: 200, body };
    },

    async getCompleteness(request) {
      const items = await database.transaction(async (manager) => {
        const board = await getBoardAccess(manager, request);
        return listCompleteness(manager, board.uuid);
      });
      return { status: 200, body: { items } };
    },
  };
}

function afterName(value: CursorValue | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && streamNamePattern.test(value)) return value;
  throw invalid('after', 'is not a `next` of this list');
}

function wantedFormat({ http }: ApiRequest<'getReadings'>): LineFormat | undefined {
  const wanted = http.request.accepts(['application/json', ...formats.map((each) => each.mediaType)]);
  return formats.find((each) => each.mediaType === wanted);
}

function toStream(row: StreamRow): Schemas['Stream'] {
  const time = (at: number | null) => (at === null ? null : new Date(at).toISOString());
  return {
    name: row.name,
    type: row.type,
    unit: row.unit,
    firstAt: time(row.firstAt),
    lastAt: time(row.lastAt),
    lastValue: row.lastAt === null ? null : toValue(row.type, { number: row.lastNumber, text: row.lastText }),
    count: Number(row.count),
  };
}
