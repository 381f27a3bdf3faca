/** What a sink has still to get of the batches in its outbox, and what has become of them so far. Pure. */
import type { OutboxEntry } from '../../common/db/queries/outbox.ts';
import type { SinkPoint } from './sink-kind.ts';
import type { RowResult } from './sink-queries.ts';

interface Row extends RowResult {
  pending: SinkPoint[];
  /** Of the oldest pending point, when it was taken out. */
  ageMs: number;
}

export type Accepts = (board: { uuid: string; name: string }, stream: string) => boolean;

export interface Pending {
  /** Batches as they are in the outbox now; what is known of them is kept. */
  load(entries: readonly OutboxEntry[], nameOf: (board: string) => string, accepts: Accepts): void;
  /** Points that wait, of those that were loaded. */
  size(): number;
  /** Milliseconds that the oldest of them has waited, at the time of loading. */
  oldestMs(): number;
  next(count: number): SinkPoint[];
  /** The points that `next` gave are dealt with: index → why it was rejected. */
  settle(count: number, rejected: ReadonlyMap<number, string>): void;
  /** Batches of which nothing waits. */
  finished(): RowResult[];
  forget(outboxIds: readonly number[]): void;
  /** Points up to the end of the last batch that is written in part. */
  begun(): number;
  /** Batches of which nothing is written yet will be loaded again; of the others only what is let through stays. */
  renew(accepts: Accepts): void;
}

export function createPending(): Pending {
  let rows = new Map<number, Row>();

  const firstWaiting = () => [...rows.values()].find((each) => each.pending.length > 0);

  return {
    load(entries, nameOf, accepts) {
      // In the order of the outbox; what is not there any more was given up.
      rows = new Map(
        entries.map((entry) => {
          const known = rows.get(entry.id);
          if (known) known.ageMs = entry.ageMs;
          return [entry.id, known ?? toRow(entry, nameOf(entry.boardUuid), accepts)];
        }),
      );
    },
    size: () => [...rows.values()].reduce((sum, each) => sum + each.pending.length, 0),
    oldestMs: () => firstWaiting()?.ageMs ?? 0,
    next(count) {
      const points: SinkPoint[] = [];
      for (const { pending } of rows.values()) {
        if (points.length >= count) break;
        points.push(...pending.slice(0, count - points.length));
      }
      return points;
    },
    settle(count, rejected) {
      let index = 0;
      for (const row of rows.values()) {
        while (index < count && row.pending.length > 0) {
          const point = row.pending.shift() as SinkPoint;
          const reason = rejected.get(index);
          if (reason === undefined) row.delivered += 1;
          else row.letters.push({ point, reason });
          index += 1;
        }
        if (index >= count) return;
      }
    },
    finished: () => [...rows.values()].filter((each) => each.pending.length === 0),
    begun() {
      let size = 0;
      let begun = 0;
      for (const { pending, delivered, letters } of rows.values()) {
        size += pending.length;
        if (delivered + letters.length > 0) begun = size;
      }
      return begun;
    },
    forget(outboxIds) {
      for (const id of outboxIds) rows.delete(id);
    },
    renew(accepts) {
      for (const [id, row] of rows) {
        if (row.delivered + row.letters.length === 0) rows.delete(id);
        const wanted = row.pending.filter(({ board, boardName, stream }) =>
          accepts({ uuid: board, name: boardName }, stream),
        );
        row.skipped += row.pending.length - wanted.length;
        row.pending = wanted;
      }
    },
  };
}

function toRow(entry: OutboxEntry, boardName: string, accepts: Accepts): Row {
  const { boardUuid, spoolId, streams, readings } = entry;
  const board = { uuid: boardUuid, name: boardName };
  const isWanted = streams.map(({ name }) => accepts(board, name));
  const pending: SinkPoint[] = [];
  for (const [streamIndex, at, value, seq] of readings) {
    const stream = streams[streamIndex];
    if (!stream || !isWanted[streamIndex]) continue;
    pending.push({
      id: `${boardUuid}:${spoolId}:${seq}`,
      board: boardUuid,
      boardName,
      stream: stream.name,
      type: stream.type,
      unit: stream.unit,
      at,
      value,
    });
  }
  return {
    outboxId: entry.id,
    delivered: 0,
    skipped: readings.length - pending.length,
    letters: [],
    pending,
    ageMs: entry.ageMs,
  };
}
