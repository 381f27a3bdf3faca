/**
 * What every process does with start, signals and stop: parts start in order, stop in reverse,
 * a stop that hangs is cut off. `main.ts` files call runProcess and hold nothing else.
 */
import { ConfigError } from './config.ts';
import type { Logger } from './logger.ts';

/** Gives back what must be undone, in order; undone in reverse at stop. */
export interface Lifecycle {
  /** Registers a step of the stop; steps run in reverse order of registration. */
  onStop(name: string, stop: () => Promise<void> | void): void;
  /** Aborted when the process is asked to stop: start-up loops end on it. */
  readonly stopping: AbortSignal;
}

/** sysexits.h: the configuration is wrong; restarting does not help. */
const exitConfig = 78;
const stopDeadlineMs = 10_000;

/**
 * Runs `start` and keeps the process until SIGTERM or SIGINT; then drains and exits 0.
 * A failed start stops what had been started and exits 1 (78 when the configuration is at fault).
 */
export async function runProcess(
  logger: Logger,
  start: (lifecycle: Lifecycle) => Promise<void>,
): Promise<void> {
  const stops: { name: string; stop: () => Promise<void> | void }[] = [];
  const abort = new AbortController();
  let ending = false;

  async function end(exitCode: number): Promise<void> {
    if (ending) return;
    ending = true;
    abort.abort();
    const deadline = setTimeout(() => {
      logger.error({ deadlineMs: stopDeadlineMs }, 'stop took too long, leaving');
      process.exit(exitCode === 0 ? 1 : exitCode);
    }, stopDeadlineMs);
    deadline.unref();
    for (const { name, stop } of stops.reverse()) {
      try {
        await stop();
      } catch (error) {
        logger.warn({ err: error, part: name }, 'a part did not stop cleanly');
      }
    }
    process.exit(exitCode);
  }

  process.on('SIGTERM', () => void end(0));
  process.on('SIGINT', () => void end(0));
  process.on('unhandledRejection', (error) => {
    logger.error({ err: error }, 'unhandled rejection');
    void end(1);
  });

  try {
    await start({ onStop: (name, stop) => void stops.push({ name, stop }), stopping: abort.signal });
  } catch (error) {
    if (abort.signal.aborted) return end(0);
    if (error instanceof ConfigError) {
      logger.error({ faults: error.faults }, 'configuration faults');
      return end(exitConfig);
    }
    logger.error({ err: error }, 'start failed');
    await end(1);
  }
}
