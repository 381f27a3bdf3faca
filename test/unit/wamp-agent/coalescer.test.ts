import { describe, expect, it } from 'vitest';
import type { IngestPlan, ResolvedBatch } from '../../../common/db/queries/ingest-plan.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { createCoalescer } from '../../../wamp-agent/ingest/coalescer.ts';

const logger = createLogger('test', 'silent');

function batch(spoolId: number, rows = 1): ResolvedBatch {
  const readings = Array.from({ length: rows }, () => [0, 1, 1] as [number, number, number]);
  return {
    boardUuid: `b${spoolId}`,
    tenantId: 't',
    epoch: 'e',
    spoolId,
    from: 1,
    streams: [],
    readings,
    lostReason: undefined,
  };
}

function planOf(batches: ResolvedBatch[]): IngestPlan {
  const outcomes = batches.map((each) => ({ ackedSeq: each.spoolId, firstNew: 0 }));
  const nothing = { rows: [], misdated: [], gaps: [], streams: [], dirtyHours: [], fences: [] };
  return { ...nothing, outcomes, consumers: [] };
}

/** Holds each group until it is let go. */
function gatedWriter() {
  const groups: ResolvedBatch[][] = [];
  const gates: (() => void)[] = [];
  return {
    groups,
    letGo: () => gates.shift()?.(),
    async write(batches: ResolvedBatch[]) {
      groups.push(batches);
      await new Promise<void>((resolve) => void gates.push(resolve));
      return planOf(batches);
    },
  };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('coalescing batches', () => {
  it('keeps one transaction in flight, and the next takes all that waited', async () => {
    const writer = gatedWriter();
    const coalescer = createCoalescer({ write: writer.write, logger });
    const first = coalescer.store(batch(1));
    await turn();
    const rest = [2, 3, 4].map((id) => coalescer.store(batch(id)));
    await turn();
    expect(writer.groups.map((group) => group.length)).toEqual([1]);
    writer.letGo();
    expect(await first).toEqual({ ackedSeq: 1, firstNew: 0 });
    await turn();
    expect(writer.groups.map((group) => group.length)).toEqual([1, 3]);
    writer.letGo();
    expect((await Promise.all(rest)).map((each) => each.ackedSeq)).toEqual([2, 3, 4]);
    await coalescer.stop();
  });

  it('bounds a group by batches and by rows, but takes one that is larger alone', async () => {
    const sizes: number[] = [];
    const write = async (batches: ResolvedBatch[]) => {
      sizes.push(batches.length);
      return planOf(batches);
    };
    const coalescer = createCoalescer({ write, logger, limits: { batches: 3, rows: 10, floorMs: 0 } });
    await Promise.all([20, 4, 4, 4, 1, 1, 1, 1].map((rows, index) => coalescer.store(batch(index, rows))));
    expect(sizes).toEqual([1, 2, 3, 2]);
    await coalescer.stop();
  });

  it('stores the neighbours of a batch that cannot be stored', async () => {
    const write = async (batches: ResolvedBatch[]) => {
      if (batches.some((each) => each.spoolId === 2)) throw new Error('data too long');
      return planOf(batches);
    };
    const coalescer = createCoalescer({ write, logger });
    const results = await Promise.allSettled([1, 2, 3].map((id) => coalescer.store(batch(id))));
    expect(results.map((each) => each.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await coalescer.stop();
  });

  it('fails a group as a whole when the database is away', async () => {
    let writes = 0;
    const write = async () => {
      writes += 1;
      throw new AppError('unavailable', 'away');
    };
    const coalescer = createCoalescer({ write, logger });
    const results = await Promise.allSettled([1, 2].map((id) => coalescer.store(batch(id))));
    expect(results).toMatchObject([{ reason: { code: 'unavailable' } }, { reason: { code: 'unavailable' } }]);
    expect(writes).toBe(1);
    await coalescer.stop();
  });

  it('gives back what waited too long, and takes no more than it can hold', async () => {
    const writer = gatedWriter();
    let now = 0;
    const coalescer = createCoalescer({
      write: writer.write,
      logger,
      now: () => now,
      limits: { waitingBatches: 2, patienceMs: 1000 },
    });
    const first = coalescer.store(batch(1));
    await turn();
    const waiting = Promise.allSettled([coalescer.store(batch(2)), coalescer.store(batch(3))]);
    await expect(coalescer.store(batch(4))).rejects.toMatchObject({ code: 'unavailable' });
    now = 5000;
    writer.letGo();
    await first;
    expect(await waiting).toMatchObject([
      { reason: { code: 'unavailable' } },
      { reason: { code: 'unavailable' } },
    ]);
    await coalescer.stop();
  });

  it('finishes what waits when it is stopped', async () => {
    const coalescer = createCoalescer({ write: async (batches) => planOf(batches), logger });
    const stored = coalescer.store(batch(1));
    await coalescer.stop();
    expect(await stored).toMatchObject({ ackedSeq: 1 });
    await expect(coalescer.store(batch(2))).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('lets one board wait with some batches only, so that there is room for the others', async () => {
    const writer = gatedWriter();
    const coalescer = createCoalescer({
      write: writer.write,
      logger,
      limits: { waitingOfBoard: 2, floorMs: 0 },
    });
    const first = coalescer.store(batch(1));
    await turn();
    const waiting = [coalescer.store(batch(1)), coalescer.store(batch(1))];
    await expect(coalescer.store(batch(1))).rejects.toMatchObject({ code: 'too-many-requests' });
    const other = coalescer.store(batch(2));
    writer.letGo();
    await first;
    await turn();
    const next = coalescer.store(batch(1));
    writer.letGo();
    await Promise.all([...waiting, other]);
    await turn();
    writer.letGo();
    expect(await next).toMatchObject({ ackedSeq: 1 });
    await coalescer.stop();
  });
});
