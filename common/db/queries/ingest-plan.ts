/** What a group of batches does to the tables, worked out from their fences. Pure. */
import type { ReadingTuple, ReadingValue } from '../../wamp/readings.ts';
import type { StreamRow } from './ingest-streams.ts';

/** A batch whose streams and fence are known to the database. */
export interface ResolvedBatch {
  boardUuid: string;
  tenantId: string;
  epoch: string;
  spoolId: number;
  from: number;
  /** In the order of the batch's own list: readings point into it. */
  streams: readonly StreamRow[];
  readings: readonly ReadingTuple[];
  lostReason: string | undefined;
}

export interface ReadingRow {
  streamId: number;
  at: number;
  spoolId: number;
  seq: number;
  value: ReadingValue;
}

export interface Gap {
  spoolId: number;
  fromSeq: number;
  toSeq: number;
  reason: string;
}

export interface StreamChange {
  stream: StreamRow;
  boardUuid: string;
  count: number;
  firstAt: number;
  lastAt: number;
  lastValue: ReadingValue;
}

export interface FenceChange {
  spoolId: number;
  boardUuid: string;
  epoch: string;
  ackedSeq: number;
  received: number;
  lost: number;
  misdated: number;
  /** Came again. */
  duplicate: number;
}

export interface BatchOutcome {
  /** undefined = its fence does not exist any more. */
  ackedSeq: number | undefined;
  /** Index of the first reading that was new; as many as there are when none was. */
  firstNew: number;
}

export interface IngestPlan {
  rows: ReadingRow[];
  misdated: ReadingRow[];
  gaps: Gap[];
  streams: StreamChange[];
  /** Hours whose rollups are out of date. */
  dirtyHours: { streamId: number; hourAt: number }[];
  fences: FenceChange[];
  /** In the order of the batches given. */
  outcomes: BatchOutcome[];
  /** Who gets some of these readings: ids of reading_consumers, when it is stored. */
  consumers: string[];
}

export const hourMs = 3_600_000;
const undeclared = 'undeclared';

export interface PlanOptions {
  /** acked_seq by spool id, of locked rows. */
  fences: ReadonlyMap<number, number>;
  /** Readings later than this cannot be stored by time: they are kept aside. */
  newestAt: number;
}

export function planBatches(batches: readonly ResolvedBatch[], options: PlanOptions): IngestPlan {
  const plan: IngestPlan = {
    rows: [],
    misdated: [],
    gaps: [],
    streams: [],
    dirtyHours: [],
    fences: [],
    outcomes: batches.map(() => ({ ackedSeq: undefined, firstNew: 0 })),
    consumers: [],
  };
  const fences = new Map<number, FenceChange>();
  const streams = new Map<number, StreamChange>();
  const order = batches.map((batch, index) => ({ batch, index }));
  order.sort((left, right) => left.batch.spoolId - right.batch.spoolId || left.batch.from - right.batch.from);
  for (const { batch, index } of order) {
    const acked = options.fences.get(batch.spoolId);
    if (acked === undefined) continue;
    const fence = fences.get(batch.spoolId) ?? newFence(batch, acked);
    fences.set(batch.spoolId, fence);
    plan.outcomes[index] = takeBatch(plan, batch, fence, streams, options.newestAt);
  }
  plan.fences = [...fences.values()].filter(
    (fence) => fence.duplicate > 0 || fence.ackedSeq !== options.fences.get(fence.spoolId),
  );
  plan.streams = [...streams.values()].sort((left, right) => left.stream.id - right.stream.id);
  plan.rows.sort(byKey);
  plan.dirtyHours = dirtyHoursOf(plan.rows, streams);
  return plan;
}

function newFence({ spoolId, boardUuid, epoch }: ResolvedBatch, ackedSeq: number): FenceChange {
  return { spoolId, boardUuid, epoch, ackedSeq, received: 0, lost: 0, misdated: 0, duplicate: 0 };
}

function takeBatch(
  plan: IngestPlan,
  batch: ResolvedBatch,
  fence: FenceChange,
  streams: Map<number, StreamChange>,
  newestAt: number,
): BatchOutcome {
  const { from, readings, spoolId } = batch;
  const lastSeq = from + readings.length - 1;
  const firstNew = Math.min(Math.max(fence.ackedSeq + 1 - from, 0), readings.length);
  if (from > fence.ackedSeq + 1) {
    const reason = batch.lostReason ?? undeclared;
    plan.gaps.push({ spoolId, fromSeq: fence.ackedSeq + 1, toSeq: from - 1, reason });
    fence.lost += from - 1 - fence.ackedSeq;
  }
  for (let index = firstNew; index < readings.length; index += 1) {
    const [streamIndex, at, value] = readings[index] as ReadingTuple;
    const stream = batch.streams[streamIndex] as StreamRow;
    const row = { streamId: stream.id, at, spoolId, seq: from + index, value };
    if (at > newestAt) {
      plan.misdated.push(row);
      fence.misdated += 1;
    } else {
      plan.rows.push(row);
      countReading(streams, stream, batch.boardUuid, at, value);
    }
  }
  fence.received += readings.length - firstNew;
  fence.duplicate += firstNew;
  fence.ackedSeq = Math.max(fence.ackedSeq, lastSeq);
  return { ackedSeq: fence.ackedSeq, firstNew };
}

function countReading(
  streams: Map<number, StreamChange>,
  stream: StreamRow,
  boardUuid: string,
  at: number,
  value: ReadingValue,
): void {
  const change = streams.get(stream.id);
  if (!change) {
    streams.set(stream.id, { stream, boardUuid, count: 1, firstAt: at, lastAt: at, lastValue: value });
    return;
  }
  change.count += 1;
  if (at < change.firstAt) change.firstAt = at;
  if (at >= change.lastAt) {
    change.lastAt = at;
    change.lastValue = value;
  }
}

function byKey(left: ReadingRow, right: ReadingRow): number {
  return (
    left.streamId - right.streamId ||
    left.at - right.at ||
    left.spoolId - right.spoolId ||
    left.seq - right.seq
  );
}

/** The rows are sorted, so equal hours of a stream stand together. */
function dirtyHoursOf(
  rows: readonly ReadingRow[],
  streams: ReadonlyMap<number, StreamChange>,
): IngestPlan['dirtyHours'] {
  const hours: IngestPlan['dirtyHours'] = [];
  let last: { streamId: number; hourAt: number } | undefined;
  for (const { streamId, at } of rows) {
    if (streams.get(streamId)?.stream.type === 'text') continue;
    const hourAt = at - (at % hourMs);
    if (last?.streamId === streamId && last.hourAt === hourAt) continue;
    last = { streamId, hourAt };
    hours.push(last);
  }
  return hours;
}
