/**
 * Runs a command for ever and reads its standard output line by line. It is started again when it
 * ends, each time later, up to a minute. Its own children end with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { messageOf } from '../../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../../common/runtime/backoff.ts';
import type { Logger } from '../../../common/runtime/logger.ts';
import { type Clock, pause } from '../../clock.ts';
import type { IntakeDoor } from '../../intake/types.ts';
import { feedLines } from './feed.ts';
import { createLineSplitter } from './split-lines.ts';

export interface CommandOptions {
  command: readonly string[];
  path: string;
  door: IntakeDoor;
  clock: Clock;
  logger: Logger;
}

const backoff = { baseMs: 1000, capMs: 60_000 } as const;
/** After so long a life the next end is the first one again. */
const livedMs = 60_000;
const killAfterMs = 2000;
/** Characters of standard error that are logged in one life. */
const loggedCharacters = 4000;

/** Ends when the signal aborts and the command has ended. */
export async function runCommand(options: CommandOptions, signal: AbortSignal): Promise<void> {
  const { clock, door, logger } = options;
  let ends = 0;
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    let reason: string;
    try {
      reason = await runOnce(options, signal);
    } catch (error) {
      reason = messageOf(error);
    }
    if (signal.aborted) return;
    ends = clock.monotonicMs() - startedMs > livedMs ? 0 : ends + 1;
    const delayMs = Math.max(100, backoffDelayMs(ends, backoff));
    door.setFault(`${options.command[0]}: ${reason}`);
    logger.warn({ reason, delayMs }, 'the command ended, it is started again');
    await pause(clock, delayMs, signal);
  }
}

/** Answers with how it ended. */
async function runOnce(options: CommandOptions, signal: AbortSignal): Promise<string> {
  const { command, door, logger } = options;
  const [program = '', ...args] = command;
  // A group of its own, so that the children of a script end with it.
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, name) => resolve(name === null ? `exit code ${code}` : `signal ${name}`));
  });
  // Looked at below; without it a failed start would count as unhandled meanwhile.
  ended.catch(() => undefined);
  let killer: NodeJS.Timeout | undefined;
  const stop = () => {
    endGroup(child, 'SIGTERM');
    killer = setTimeout(() => endGroup(child, 'SIGKILL'), killAfterMs);
  };
  signal.addEventListener('abort', stop, { once: true });
  let logged = 0;
  child.stderr.on('data', (chunk: Buffer) => {
    if (logged < loggedCharacters) logger.warn({ text: chunk.toString().slice(0, 500) }, 'the command says');
    logged += chunk.length;
  });
  try {
    const splitter = createLineSplitter();
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      door.setFault(undefined);
      await feedLines(options, { lines: splitter.push(chunk), signal });
    }
    const rest = splitter.rest();
    if (rest) await feedLines(options, { lines: [rest], signal });
    return await ended;
  } finally {
    signal.removeEventListener('abort', stop);
    endGroup(child, 'SIGKILL');
    clearTimeout(killer);
  }
}

function endGroup({ pid }: ChildProcess, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch (error) {
    // ESRCH: all of it has ended.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
