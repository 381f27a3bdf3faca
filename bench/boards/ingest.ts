/** One gateway that was away: a filled spool, emptied as the agent does it. */
import { systemClock } from '../../board-agent/clock.ts';
import { createReadingsSender } from '../../board-agent/readings-sender.ts';
import { createSpool } from '../../board-agent/spool/spool.ts';
import { createLogger } from '../../common/runtime/logger.ts';
import type { SimulatedBoard } from './simulated-board.ts';
import { streams } from './simulated-board.ts';

const logger = createLogger('bench-boards', 'silent');
/** The spool buffers 20,000 readings at the most before it has to write. */
const perFlush = 10_000;

/** Milliseconds from the first batch to the acknowledgement of the last. */
export async function ingest(
  board: SimulatedBoard,
  options: { uuid: string; readings: number; batch: number; spoolPath: string },
): Promise<number> {
  const { readings, batch } = options;
  const done = Promise.withResolvers<void>();
  const stop = new AbortController();
  const spool = createSpool({
    path: options.spoolPath,
    boardUuid: options.uuid,
    limits: { maxBytes: 1e9, maxAgeMs: 86_400_000 },
    clock: systemClock,
    logger,
    onCommit: () => sender.noteCommit(),
  });
  const sender = createReadingsSender({
    spool: { ...spool, peek: (most) => spool.peek(Math.min(most, batch)) },
    clock: systemClock,
    logger,
    append: (each, timeoutMs) => board.session.call('appendReadings', each, timeoutMs),
    intervalMs: () => 50,
    onAck: ({ ackedSeq }) => {
      if (ackedSeq >= readings) done.resolve();
    },
    onFailure: done.reject,
  });
  for (let added = 0; added < readings; added += perFlush) {
    for (let index = 0; index < perFlush; index += 1)
      spool.add({ stream: streams[index % streams.length]!, at: Date.now(), value: Math.sin(added + index) });
    spool.flush();
  }
  // The server has to know the spool's epoch before its first batch.
  await greet(board, spool.epoch());
  spool.reconcile(spool.epoch(), 0);

  const startedAt = performance.now();
  const sending = sender.run(stop.signal);
  await done.promise;
  const ms = performance.now() - startedAt;
  stop.abort();
  await sending;
  spool.close();
  return ms;
}

async function greet(board: SimulatedBoard, epoch: string): Promise<void> {
  board.useEpoch(epoch);
  await board.session.call('hello', board.helloRequest(), 10_000);
}
