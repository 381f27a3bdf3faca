/** One open answer of server-sent events. What a client doesn't read in time is not kept for it: it is cut off. */
import type { Response } from 'express';

export interface EventStream {
  write(frame: string): void;
  /** Settles when nothing waits for the client any more, or it is gone. */
  drained(): Promise<void>;
  /** For a client that is too slow: nothing more is sent, and what waits is dropped. */
  cutOff(): void;
  end(): void;
}

export interface EventStreamOptions {
  response: Response;
  /** Bytes that may wait for the client. */
  maxWaitingBytes: number;
  onCutOff: (waitingBytes: number) => void;
}

export function openEventStream({ response, maxWaitingBytes, onCutOff }: EventStreamOptions): EventStream {
  response.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store, no-transform',
    // Proxies of the nginx kind would collect small writes.
    'X-Accel-Buffering': 'no',
  });
  // Clients that lost the api come back one after the other.
  response.write(`retry: ${Math.round(1000 + 2000 * Math.random())}\n\n`);
  function cutOff(): void {
    if (response.destroyed) return;
    onCutOff(response.writableLength);
    response.destroy();
  }
  return {
    write(frame) {
      if (response.destroyed || response.writableEnded) return;
      response.write(frame);
      if (response.writableLength > maxWaitingBytes) cutOff();
    },
    cutOff,
    drained: () =>
      new Promise((resolve) => {
        if (response.destroyed || !response.writableNeedDrain) return resolve();
        const done = () => {
          response.off('drain', done).off('close', done);
          resolve();
        };
        response.on('drain', done).on('close', done);
      }),
    end: () => void response.end(),
  };
}
