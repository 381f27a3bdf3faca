/**
 * A gateway that is cut off for ten minutes, in a clock that runs faster, with a restart in the
 * middle: what it measured and what its device said comes later, whole, in order, and once.
 */
import { afterEach, expect, it } from 'vitest';
import { createReadingsSender } from '../../../board-agent/readings-sender.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import type { ReadingsBatch } from '../../../common/wamp/readings.ts';
import { silent } from '../../unit/board-agent/fakes.ts';
import { type Bench, createBench, letIn, reading } from '../../unit/board-agent/intake/support.ts';

const stepMs = 100;
const second = 1000;
const cutAtMs = 30 * second;
const restartAtMs = cutAtMs + 290 * second;
const backAtMs = cutAtMs + 600 * second;
const endMs = backAtMs + 30 * second;
const level = { name: 'tank/level', type: 'number', unit: 'm' } as const;

let bench: Bench;
afterEach(() => bench.close());

interface Stored {
  seq: number;
  stream: string;
  at: number;
  value: unknown;
}

/** Keeps readings behind a fence, as the server does; every fourth answer gets lost. */
function createServer() {
  const stored: Stored[] = [];
  let acked = 0;
  let calls = 0;
  return {
    stored,
    acked: () => acked,
    append(batch: ReadingsBatch): object {
      for (const [index, [stream, at, value]] of batch.readings.entries()) {
        const seq = batch.from + index;
        if (seq > acked) stored.push({ seq, stream: batch.streams[stream]?.name ?? '', at, value });
      }
      acked = Math.max(acked, batch.from + batch.readings.length - 1);
      calls += 1;
      if (calls % 4 === 0) throw new AppError('unavailable', 'the answer was lost');
      return { ackedSeq: acked, batchIntervalMs: second };
    },
  };
}

it('loses nothing and stores nothing twice over ten minutes offline', async () => {
  bench = createBench();
  const { clock } = bench;
  const server = createServer();
  const startedAt = clock.now();
  const elapsedMs = () => clock.now() - startedAt;
  let link: AbortController | undefined;
  let sending: Promise<void> | undefined;

  function connect(): void {
    bench.spool.reconcile(bench.spool.epoch(), server.acked());
    link = new AbortController();
    const sender = createReadingsSender({
      spool: bench.spool,
      clock,
      logger: silent,
      random: () => 0.5,
      append: async (batch) => server.append(batch),
      intervalMs: () => second,
    });
    sending = sender.run(link.signal);
  }
  async function cut(): Promise<void> {
    link?.abort();
    await sending;
    link = undefined;
  }

  await letIn(bench);
  connect();
  const said: { at: number; seq: number }[] = [];
  let measured = 0;
  for (let step = 1; step * stepMs <= endMs; step += 1) {
    bench.spool.add({ stream: level, at: clock.now(), value: measured });
    measured += 1;
    if (step % 10 === 0) {
      const seq = step / 10;
      const outcome = await bench.door.take(reading('n1', seq, { count: seq }));
      expect(outcome).toEqual({ status: 'stored', readings: 1 });
      said.push({ at: clock.now(), seq });
    }
    await clock.advance(stepMs);
    if (elapsedMs() === cutAtMs) await cut();
    if (elapsedMs() === restartAtMs) {
      bench.spool.flush();
      bench.restart();
      await letIn(bench);
    }
    if (elapsedMs() === backAtMs) {
      expect(bench.spool.waiting()).toBeGreaterThan(6500);
      connect();
    }
  }
  await clock.advance(60 * second);
  await cut();

  const { stored } = server;
  expect(stored.map((each) => each.seq)).toEqual(stored.map((_, index) => index + 1));
  const of = (name: string) => stored.filter((each) => each.stream === name);
  expect(of('tank/level').map((each) => each.value)).toEqual(Array.from({ length: measured }, (_, n) => n));
  expect(of('n1/count').map(({ at, value }) => ({ at, seq: value }))).toEqual(said);
  expect(bench.spool.waiting()).toBe(0);
  expect(bench.intake.sources()).toMatchObject([
    { received: said.length, stored: said.length, duplicate: 0, rejected: 0, waiting: 0 },
  ]);
});
