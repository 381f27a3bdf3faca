/**
 * Sends the spool to the server, one batch at a time, while the board is online.
 *
 *   idle → (interval over, or a full batch waits) sending → acknowledged → idle
 *                                                        → failed: again after a back-off
 *                                                        → refused: half of it, down to one reading,
 *                                                          which is set aside
 *
 * A batch that the server calls invalid must not block the ones behind it, and a server that calls
 * everything invalid must not empty the spool: refusals in a row slow the sender down.
 */
import { AppError, messageOf } from '../common/runtime/app-error.ts';
import { backoffDelayMs } from '../common/runtime/backoff.ts';
import type { Logger } from '../common/runtime/logger.ts';
import { parseReadingsAck, type ReadingsBatch, readingsLimits } from '../common/wamp/readings.ts';
import { type Clock, pause } from './clock.ts';
import type { Spool } from './spool/spool.ts';

export interface SenderOptions {
  spool: Pick<Spool, 'peek' | 'ack' | 'refuse' | 'waiting'>;
  clock: Clock;
  logger: Logger;
  random?: () => number;
  /** Calls the server; rejects with an AppError. */
  append: (batch: ReadingsBatch, timeoutMs: number) => Promise<unknown>;
  /** The wanted time between batches; changes with each acknowledgement. */
  intervalMs: () => number;
  onAck?: (ack: { at: number; ackedSeq: number; batchIntervalMs: number }) => void;
  onFailure?: (error: unknown) => void;
}

export interface ReadingsSender {
  /** Sends until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** New readings are on disk: a full batch goes at once. */
  noteCommit(): void;
  /** The interval was changed: it counts from now. */
  wake(): void;
}

export const senderLimits = {
  appendTimeoutMs: 30_000,
  minIntervalMs: 50,
  backoff: { baseMs: 1000, capMs: 30_000 },
  /** Refused readings in a row after which the sender suspects the server and slows down. */
  refusedInARow: 5,
} as const;

export function createReadingsSender(options: SenderOptions): ReadingsSender {
  const { spool, clock, logger, random = Math.random } = options;
  const full = readingsLimits.batchReadings;
  let wakeUp: () => void = () => {};
  /** Readings per batch: halved by a refusal, doubled by an acknowledgement. */
  let size: number = full;
  let failures = 0;
  let refusedInARow = 0;

  async function sendOne(): Promise<'sent' | 'empty' | 'failed' | 'refused'> {
    const batch = spool.peek(size);
    if (!batch) return 'empty';
    try {
      const ack = parseReadingsAck(await options.append(batch, senderLimits.appendTimeoutMs));
      const last = batch.from + batch.readings.length - 1;
      if (ack.ackedSeq < last)
        throw new AppError('internal', `acknowledged up to ${ack.ackedSeq} only, sent up to ${last}`);
      spool.ack(batch.epoch, last);
      options.onAck?.({ at: clock.now(), ackedSeq: last, batchIntervalMs: ack.batchIntervalMs });
      size = Math.min(full, size * 2);
      failures = 0;
      refusedInARow = 0;
      return 'sent';
    } catch (error) {
      options.onFailure?.(error);
      return (await handleFailure(batch, error)) ? 'refused' : 'failed';
    }
  }

  /** True when the batch was refused for what is in it. */
  async function handleFailure(batch: ReadingsBatch, error: unknown): Promise<boolean> {
    const refused =
      error instanceof AppError && (error.code === 'invalid-arguments' || error.code === 'payload-too-large');
    if (!refused) {
      failures += 1;
      logger.warn(
        { reason: messageOf(error), from: batch.from, failures },
        'readings were not taken, will send them again',
      );
      return false;
    }
    if (batch.readings.length > 1) {
      size = Math.ceil(batch.readings.length / 2);
      return true;
    }
    refusedInARow += 1;
    logger.error({ reason: error.message, seq: batch.from }, 'the server refuses a reading: set aside');
    spool.refuse(batch.epoch, batch.from, error.message);
    return true;
  }

  /** Until the interval is over, ended early by a full batch; a changed interval counts at once. */
  async function rest(signal: AbortSignal): Promise<void> {
    const startedMs = clock.monotonicMs();
    for (;;) {
      const intervalMs = Math.max(senderLimits.minIntervalMs, options.intervalMs());
      const leftMs = intervalMs - (clock.monotonicMs() - startedMs);
      if (signal.aborted || leftMs <= 0 || spool.waiting() >= full) return;
      const woken = new AbortController();
      const end = () => woken.abort();
      wakeUp = end;
      signal.addEventListener('abort', end, { once: true });
      await pause(clock, leftMs, woken.signal);
      signal.removeEventListener('abort', end);
    }
  }

  /** A full batch, or the rest of one that had to be divided. */
  const hasMore = () => size < full || spool.waiting() >= full;

  return {
    noteCommit() {
      if (spool.waiting() >= full) wakeUp();
    },
    wake: () => wakeUp(),
    async run(signal) {
      size = full;
      failures = 0;
      while (!signal.aborted) {
        const outcome = await sendOne();
        if (signal.aborted) return;
        if (outcome === 'failed' || refusedInARow > senderLimits.refusedInARow) {
          const attempt = Math.max(failures, refusedInARow - senderLimits.refusedInARow) - 1;
          // Never none at all: that would hammer a server in trouble.
          const delayMs = 500 + backoffDelayMs(attempt, { ...senderLimits.backoff, random });
          await pause(clock, delayMs, signal);
        } else if (outcome === 'refused' || (outcome === 'sent' && hasMore())) {
          // A backlog drains without rest, but calls of the board get their turn in between.
          await new Promise((resolve) => setImmediate(resolve));
        } else {
          await rest(signal);
        }
      }
    },
  };
}
