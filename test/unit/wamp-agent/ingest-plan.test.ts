import { describe, expect, it } from 'vitest';
import { hourMs, planBatches, type ResolvedBatch } from '../../../common/db/queries/ingest-plan.ts';
import type { ReadingTuple } from '../../../common/wamp/readings.ts';
import { createMarks } from '../../../wamp-agent/ingest/ingest.ts';

const streams = [
  { id: 7, name: 'lab/level', type: 'number', unit: 'm' },
  { id: 3, name: 'lab/note', type: 'text', unit: '' },
] as const;

function batch(spoolId: number, from: number, readings: ReadingTuple[], lostReason?: string): ResolvedBatch {
  return { boardUuid: 'b', tenantId: 't', epoch: 'e', spoolId, from, streams, readings, lostReason };
}

const plan = (batches: ResolvedBatch[], acked: Record<number, number>, newestAt = 1e15) =>
  planBatches(batches, {
    fences: new Map(Object.entries(acked).map(([id, seq]) => [Number(id), seq])),
    newestAt,
  });

describe('planning a group of batches', () => {
  it('skips what the fence has, also within one group', () => {
    const both = batch(1, 5, [
      [0, 10, 1],
      [0, 20, 2],
    ]);
    const { rows, outcomes, fences } = plan([both, both], { 1: 5 });
    expect(rows).toEqual([{ streamId: 7, at: 20, spoolId: 1, seq: 6, value: 2 }]);
    expect(outcomes).toEqual([
      { ackedSeq: 6, firstNew: 1 },
      { ackedSeq: 6, firstNew: 2 },
    ]);
    expect(fences).toMatchObject([{ ackedSeq: 6, received: 1, lost: 0 }]);
  });

  it('takes the batches of a spool in their order, whatever order they came in', () => {
    const { outcomes, gaps } = plan([batch(1, 2, [[0, 2, 2]]), batch(1, 1, [[0, 1, 1]])], { 1: 0 });
    expect(gaps).toEqual([]);
    expect(outcomes.map((each) => each.ackedSeq)).toEqual([2, 1]);
  });

  it('only counts a batch that is known, and leaves out a fence that is gone', () => {
    const { fences, outcomes } = plan([batch(1, 1, [[0, 1, 1]]), batch(2, 1, [[0, 1, 1]])], { 1: 4 });
    expect(fences).toMatchObject([{ spoolId: 1, ackedSeq: 4, received: 0, lost: 0, duplicate: 1 }]);
    expect(outcomes).toEqual([
      { ackedSeq: 4, firstNew: 1 },
      { ackedSeq: undefined, firstNew: 0 },
    ]);
  });

  it('sorts rows by their key, counts streams, and marks hours of numbers only', () => {
    const readings: ReadingTuple[] = [
      [1, hourMs * 2, 'late'],
      [0, hourMs + 1, 5],
      [0, 1, 9],
      [0, hourMs + 2, 6],
    ];
    const { rows, streams: changes, dirtyHours } = plan([batch(1, 1, readings)], { 1: 0 });
    expect(rows.map((row) => [row.streamId, row.at])).toEqual([
      [3, hourMs * 2],
      [7, 1],
      [7, hourMs + 1],
      [7, hourMs + 2],
    ]);
    expect(changes).toMatchObject([
      { stream: { id: 3 }, count: 1, lastValue: 'late' },
      { stream: { id: 7 }, count: 3, firstAt: 1, lastAt: hourMs + 2, lastValue: 6 },
    ]);
    expect(dirtyHours).toEqual([
      { streamId: 7, hourAt: 0 },
      { streamId: 7, hourAt: hourMs },
    ]);
  });

  it('keeps readings of a far future aside', () => {
    const { rows, misdated, fences } = plan(
      [
        batch(1, 1, [
          [0, 50, 1],
          [0, 101, 2],
        ]),
      ],
      { 1: 0 },
      100,
    );
    expect(rows).toHaveLength(1);
    expect(misdated).toMatchObject([{ seq: 2, at: 101 }]);
    expect(fences).toMatchObject([{ ackedSeq: 2, received: 2, misdated: 1 }]);
  });
});

describe('rollup marks', () => {
  it('are raised once in the hour that runs, and always for others and near its end', () => {
    let now = 10 * hourMs + 60_000;
    const marks = createMarks(() => now);
    const { dirtyHours, ...rest } = plan([batch(1, 1, [[0, now, 1]])], { 1: 0 });
    expect(marks.isMarked(7, 10 * hourMs)).toBe(false);
    marks.remember({ ...rest, dirtyHours: [...dirtyHours, { streamId: 7, hourAt: 9 * hourMs }] });
    expect(marks.isMarked(7, 10 * hourMs)).toBe(true);
    expect(marks.isMarked(7, 9 * hourMs)).toBe(false);
    expect(marks.isMarked(8, 10 * hourMs)).toBe(false);
    now = 11 * hourMs - 60_000;
    expect(marks.isMarked(7, 10 * hourMs)).toBe(false);
    now = 11 * hourMs + 1;
    expect(marks.isMarked(7, 11 * hourMs)).toBe(false);
  });
});
