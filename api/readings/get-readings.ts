/** The JSON answer: raw where it fits, buckets where it does not, pages for what is asked for raw. */
import type { EntityManager } from 'typeorm';
import type { Schemas } from '../http/operation.ts';
import { chooseWidth, countBuckets } from './bucket-plan.ts';
import { readBuckets } from './bucket-queries.ts';
import { formatCursor, parseCursor, type RawCursor } from './raw-cursor.ts';
import { type RawPosition, readRawPage } from './raw-queries.ts';
import type { StreamRow } from './stream-queries.ts';
import { invalid, type Resolution, type Window } from './window.ts';

type Readings = Schemas['Readings'];
type Series = Readings['series'][number];

export interface ReadingsRequest {
  /** In the order asked for. */
  streams: readonly StreamRow[];
  window: Window;
  maxPoints: number;
  resolution: Resolution;
  cursor: string | undefined;
}

/** @param manager of a transaction, so that the answer is of one moment */
export async function getReadings(manager: EntityManager, request: ReadingsRequest): Promise<Readings> {
  if (request.cursor !== undefined) return continueRaw(manager, request, parseCursor(request.cursor));
  const { streams, window, maxPoints } = request;
  const widthMs = widthOf(request);
  const series: Series[] = [];
  const unfinished: RawCursor['streams'] = [];
  for (const stream of streams) {
    const bucketMs = stream.type === 'text' ? undefined : widthMs;
    // A width that was asked for is kept, also where raw readings would fit.
    if (bucketMs !== undefined && request.resolution !== 'auto') {
      series.push(await bucketSeries(manager, stream, window, bucketMs));
      continue;
    }
    const { points, next } = await readRawPage(manager, stream, window, maxPoints, undefined);
    if (next !== undefined && bucketMs !== undefined) {
      series.push(await bucketSeries(manager, stream, window, bucketMs));
      continue;
    }
    series.push({ ...headOf(stream), resolution: 'raw', points });
    if (next !== undefined) unfinished.push({ id: stream.id, after: next });
  }
  return answer(series, window, unfinished);
}

/** undefined = raw. */
function widthOf({ resolution, window, maxPoints }: ReadingsRequest): number | undefined {
  if (resolution === 'raw') return undefined;
  if (resolution === 'auto') return chooseWidth(window, maxPoints);
  const count = countBuckets(window, resolution);
  if (count > maxPoints)
    throw invalid('resolution', `makes ${count} buckets of this window; maxPoints is ${maxPoints}`);
  return resolution;
}

async function continueRaw(
  manager: EntityManager,
  request: ReadingsRequest,
  cursor: RawCursor,
): Promise<Readings> {
  const series: Series[] = [];
  const unfinished: RawCursor['streams'] = [];
  for (const { id, after } of cursor.streams) {
    const stream = request.streams.find((each) => each.id === id);
    if (!stream) throw invalid('cursor', 'belongs to other streams');
    const { points, next } = await readRawPage(manager, stream, cursor, request.maxPoints, after);
    series.push({ ...headOf(stream), resolution: 'raw', points });
    if (next !== undefined) unfinished.push({ id, after: next });
  }
  return answer(series, cursor, unfinished);
}

async function bucketSeries(
  manager: EntityManager,
  stream: StreamRow,
  window: Window,
  widthMs: number,
): Promise<Series> {
  const points = await readBuckets(manager, stream, window, widthMs);
  return { ...headOf(stream), resolution: `${widthMs}ms`, points };
}

function headOf({ name, type, unit }: StreamRow): Pick<Series, 'stream' | 'type' | 'unit'> {
  return { stream: name, type, unit };
}

function answer(
  series: Series[],
  { fromAt, toAt }: Window,
  unfinished: { id: number; after: RawPosition }[],
): Readings {
  if (unfinished.length === 0) return { series };
  return { series, next: formatCursor({ fromAt, toAt, streams: unfinished }) };
}
