/** Progress on its way to the server: at most one a second and operation, the latest wins, best effort. */
import type { Progress, ProgressRequest } from '../../common/wamp/operations.ts';
import type { Clock } from '../clock.ts';

export interface ProgressSender {
  note(operationId: string, attempt: number, progress: Progress): void;
  /** The operation has ended: what is not sent yet has no use any more. */
  forget(operationId: string): void;
  stop(): void;
}

const everyMs = 1000;

export function createProgressSender(options: {
  clock: Clock;
  /** Calls the server; may reject, which is no news here. */
  send: (request: ProgressRequest) => Promise<unknown>;
}): ProgressSender {
  const { clock, send } = options;
  /** By operation, for a second after something was sent. */
  const resting = new Map<string, { cancel: () => void; next?: ProgressRequest }>();

  function sendNow(request: ProgressRequest): void {
    const { operationId } = request;
    // Offline or refused: the next one, or the outcome, says more.
    send(request).catch(() => undefined);
    const rest: { cancel: () => void; next?: ProgressRequest } = {
      cancel: clock.after(everyMs, () => {
        resting.delete(operationId);
        if (rest.next) sendNow(rest.next);
      }),
    };
    resting.set(operationId, rest);
  }

  return {
    note(operationId, attempt, progress) {
      const request = { operationId, attempt, progress };
      const rest = resting.get(operationId);
      if (rest) rest.next = request;
      else sendNow(request);
    },
    forget(operationId) {
      resting.get(operationId)?.cancel();
      resting.delete(operationId);
    },
    stop() {
      for (const operationId of [...resting.keys()]) this.forget(operationId);
    },
  };
}
