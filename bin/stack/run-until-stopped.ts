/** The life of a start-up script: signals, what it says when it fails, and an end that leaves nothing behind. */
import { messageOf } from '../../common/runtime/app-error.ts';
import { ConfigError } from '../../common/runtime/config.ts';
import { type Say, SetupError } from '../setup/progress.ts';
import { ApiRefusal } from './api-client.ts';
import { PartFailed } from './supervisor.ts';

/** Two signals within this are one: the terminal sends Ctrl-C to a whole group, and npm passes it on. */
const sameSignalMs = 500;

export interface Life {
  say: Say;
  /** Aborted at Ctrl-C, SIGTERM, SIGHUP, and when the launcher is gone. */
  signal: AbortSignal;
  /** Aborted at the second Ctrl-C: no more waiting for anybody. */
  hurry: AbortSignal;
}

/** Starts something, waits until it is to end, stops it, and ends this process. */
export async function runUntilStopped(
  start: (life: Life) => Promise<{ stop(): Promise<void> }>,
): Promise<never> {
  const stopping = new AbortController();
  const hurry = new AbortController();
  let stoppedAt = 0;
  function askToStop(): void {
    if (!stopping.signal.aborted) {
      stoppedAt = performance.now();
      stopping.abort(new Error('stopped'));
    } else if (performance.now() - stoppedAt > sameSignalMs) hurry.abort();
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, askToStop);
  // The launcher holds this channel open for as long as it lives.
  process.on('disconnect', askToStop);
  // A closed terminal must not keep us from stopping the rest.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  process.on('uncaughtException', (error) => {
    console.error(error);
    process.exitCode = 1;
    askToStop();
  });

  const say = (line: string) => console.log(line);
  try {
    const started = await start({ say, signal: stopping.signal, hurry: hurry.signal });
    await new Promise<void>((resolve) => {
      if (stopping.signal.aborted) resolve();
      stopping.signal.addEventListener('abort', () => resolve());
    });
    say('Stopping …');
    await started.stop();
  } catch (error) {
    if (!stopping.signal.aborted) {
      process.exitCode = 1;
      console.error(explain(error));
    }
  }
  say('Boardwalk is stopped.');
  if (process.connected) process.disconnect();
  process.exit();
}

function explain(error: unknown): string {
  const expected = [SetupError, PartFailed, ConfigError, ApiRefusal];
  if (expected.some((kind) => error instanceof kind)) return messageOf(error);
  return error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
}
