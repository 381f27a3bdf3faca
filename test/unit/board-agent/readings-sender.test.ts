import { beforeEach, describe, expect, it } from 'vitest';
import { createReadingsSender, type ReadingsSender } from '../../../board-agent/readings-sender.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import type { ReadingsBatch } from '../../../common/wamp/readings.ts';
import { createFakeClock, type FakeClock, silent } from './fakes.ts';

const epoch = '00000000-0000-4000-8000-000000000000';

/** A spool in memory: numbers from 1 on, holes where readings were refused. */
function createMemorySpool(count: number) {
  let next = count + 1;
  let acked = 0;
  const refused = new Map<number, string>();
  const spool = {
    refused,
    add(more: number) {
      next += more;
    },
    acked: () => acked,
    waiting: () => next - 1 - acked - [...refused.keys()].filter((seq) => seq > acked).length,
    peek(max: number): ReadingsBatch | undefined {
      let from = acked + 1;
      while (refused.has(from)) from += 1;
      if (from >= next) return undefined;
      const readings: ReadingsBatch['readings'] = [];
      for (let seq = from; seq < next && readings.length < max && !refused.has(seq); seq += 1)
        readings.push([0, 0, seq]);
      return { epoch, from, streams: [{ name: 'a/b', type: 'number', unit: '' }], readings };
    },
    ack(_epoch: string, seq: number) {
      acked = Math.max(acked, seq);
    },
    refuse(_epoch: string, seq: number, reason: string) {
      refused.set(seq, reason);
    },
  };
  return spool;
}

let clock: FakeClock;
let sent: { from: number; count: number; atMs: number }[];
let answer: (batch: ReadingsBatch) => unknown;
let intervalMs: number;
let abort: AbortController;

beforeEach(() => {
  clock = createFakeClock();
  sent = [];
  intervalMs = 5000;
  abort = new AbortController();
  answer = (batch) => ({ ackedSeq: batch.from + batch.readings.length - 1, batchIntervalMs: intervalMs });
});

function start(spool: ReturnType<typeof createMemorySpool>): ReadingsSender {
  const sender = createReadingsSender({
    spool,
    clock,
    logger: silent,
    random: () => 0.5,
    intervalMs: () => intervalMs,
    append: async (batch) => {
      sent.push({ from: batch.from, count: batch.readings.length, atMs: clock.monotonicMs() });
      return answer(batch);
    },
  });
  void sender.run(abort.signal);
  return sender;
}

const invalid = () => {
  throw new AppError('invalid-arguments', 'bad reading');
};

describe('readings sender', () => {
  it('sends at once, and then once per interval', async () => {
    const spool = createMemorySpool(10);
    start(spool);
    await clock.advance(1);
    expect(sent).toEqual([{ from: 1, count: 10, atMs: 0 }]);
    spool.add(5);
    await clock.advance(4900);
    expect(sent).toHaveLength(1);
    await clock.advance(200);
    expect(sent[1]).toMatchObject({ from: 11, count: 5 });
  });

  it('sends a full batch before the interval is over', async () => {
    const spool = createMemorySpool(0);
    const sender = start(spool);
    await clock.advance(100);
    spool.add(999);
    sender.noteCommit();
    await clock.advance(10);
    expect(sent).toHaveLength(0);
    spool.add(1);
    sender.noteCommit();
    await clock.advance(10);
    expect(sent).toMatchObject([{ from: 1, count: 1000 }]);
  });

  it('drains a backlog without waiting, and leaves the rest to the interval', async () => {
    const spool = createMemorySpool(10_500);
    start(spool);
    await clock.advance(1);
    for (let turn = 0; turn < 30; turn += 1) await clock.advance(0);
    expect(sent.map((each) => each.count)).toEqual(Array(10).fill(1000));
    await clock.advance(5000);
    expect(sent.at(-1)?.count).toBe(500);
  });

  it('takes over a shorter interval at once', async () => {
    const spool = createMemorySpool(1);
    const sender = start(spool);
    await clock.advance(10);
    spool.add(1);
    intervalMs = 1000;
    sender.wake();
    await clock.advance(1000);
    expect(sent).toHaveLength(2);
  });

  it.each(['unavailable', 'too-many-requests'] as const)(
    'keeps what was not taken (%s) and sends the same again, more and more slowly',
    async (code) => {
      answer = () => {
        throw new AppError(code, 'not now');
      };
      const spool = createMemorySpool(3);
      start(spool);
      await clock.advance(60_000);
      expect(sent.length).toBeGreaterThan(3);
      expect(sent.length).toBeLessThan(12);
      expect(new Set(sent.map(({ from, count }) => `${from}+${count}`))).toEqual(new Set(['1+3']));
      expect(spool.refused.size).toBe(0);
      const gaps = sent.slice(1).map((each, index) => each.atMs - (sent[index]?.atMs ?? 0));
      expect(gaps.at(-1)).toBeGreaterThan(gaps[0] ?? 0);
    },
  );

  it('does not delete on an acknowledgement that is short of the batch', async () => {
    answer = () => ({ ackedSeq: 1, batchIntervalMs: 5000 });
    const spool = createMemorySpool(3);
    start(spool);
    await clock.advance(100);
    expect(spool.acked()).toBe(0);
  });

  it('finds the offending readings in a batch, sets only those aside, and goes on', async () => {
    const poison = new Set([1, 500, 501, 1000]);
    answer = (batch) => {
      if (batch.readings.some(([, , value]) => poison.has(value as number))) return invalid();
      return { ackedSeq: batch.from + batch.readings.length - 1, batchIntervalMs: 5000 };
    };
    const spool = createMemorySpool(1200);
    start(spool);
    for (let turn = 0; turn < 200; turn += 1) await clock.advance(1);
    expect([...spool.refused.keys()]).toEqual([1, 500, 501, 1000]);
    expect(spool.waiting()).toBe(0);
    expect(sent.length).toBeLessThan(100);
  });

  it('slows down when everything is refused: the server may be at fault', async () => {
    answer = invalid;
    const spool = createMemorySpool(10_000);
    start(spool);
    for (let turn = 0; turn < 600; turn += 1) await clock.advance(100);
    expect(spool.refused.size).toBeGreaterThanOrEqual(5);
    expect(spool.refused.size).toBeLessThan(20);
  });

  it('stops at once when the session ends, with a batch under way', async () => {
    const pending = Promise.withResolvers<unknown>();
    answer = () => pending.promise;
    const spool = createMemorySpool(2);
    start(spool);
    await clock.advance(1);
    abort.abort();
    pending.reject(new AppError('unavailable', 'link ended'));
    await clock.advance(10_000);
    expect(sent).toHaveLength(1);
    expect(clock.pending()).toEqual([]);
  });
});
