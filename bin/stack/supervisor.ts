/**
 * Keeps a list of processes alive. A part is
 *   starting  spawned, asked every 50 ms whether it is ready;
 *   running   ready once: if it dies now it is started again for ever, with back-off;
 *   failed    died 5 times within 30 s before it was ever ready, refused its configuration, or took
 *             too long: start() throws with the end of its log;
 *   stopping  SIGTERM, and SIGKILL after a grace.
 * Every part leads a process group of its own, so that what it spawned goes with it, and a guard
 * ends them all when this process is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { killGroup, lastLines } from '../setup/exec.ts';
import { type Guard, startGuard } from './guard.ts';

export interface Part {
  name: string;
  command: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Resolves when the part does its work; throws as long as it does not. */
  ready(): Promise<void>;
}

export interface Supervisor {
  /** Resolves when the part is ready; throws PartFailed. */
  start(part: Part): Promise<void>;
  /** Stops the parts in reverse order of their start; safe to call more than once. */
  stop(): Promise<void>;
  /** From now on parts get SIGKILL at once: for the second Ctrl-C. */
  hurry(): void;
  /** The process ids of now, in start order; a part that waits for its restart is left out. */
  processes(): { name: string; pid: number }[];
}

export interface SupervisorOptions {
  logDir: string;
  /** Variables for every part, over its own: the mark by which leftovers are found. */
  env?: NodeJS.ProcessEnv;
  /** One line for the person who watches: a part died and is started again. */
  say?: (line: string) => void;
  stopGraceMs?: number;
}

export class PartFailed extends Error {
  override readonly name = 'PartFailed';
}

const readyPollMs = 50;
const readyAnswerMs = 5_000;
const readyDeadlineMs = 60_000;
const startupDeaths = { count: 5, withinMs: 30_000 };
const restartDelayMs = { first: 100, cap: 5_000 };
/** A part that lived this long is healthy: its next restart comes at once again. */
const healthyAfterMs = 30_000;
/** sysexits.h EX_CONFIG: starting it again can't help. */
const exitConfig = 78;
const logLimitBytes = 10_000_000;

/** Opens a log to append to; a long one is set aside first, so that two of them bound the disk that a restart takes. */
function openLog(path: string): number {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > logLimitBytes) renameSync(path, `${path}.1`);
  return openSync(path, 'a', 0o600);
}

async function withTimeout(work: Promise<void>): Promise<void> {
  const patience = new AbortController();
  const late = sleep(readyAnswerMs, undefined, { signal: patience.signal });
  // Rejects only when the work answered in time.
  late.catch(() => undefined);
  const outcome = await Promise.race([work.then(() => 'ready'), late]).finally(() => patience.abort());
  if (outcome === undefined) throw new Error(`no answer within ${readyAnswerMs} ms`);
}

interface Running {
  part: Part;
  child: ChildProcess | undefined;
  wasReady: boolean;
  deaths: number[];
  restarts: number;
  failure: string | undefined;
  stopping: AbortController;
  done: Promise<void>;
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const running: Running[] = [];
  let graceMs = options.stopGraceMs ?? 10_000;
  let stopped: Promise<void> | undefined;
  let guard: Guard | undefined;
  mkdirSync(options.logDir, { recursive: true });

  const tellGuard = () => guard?.watch(processes().map(({ pid }) => pid));

  /** Spawns, waits for the end, and starts again, until stopped or failed. */
  async function keepAlive(state: Running): Promise<void> {
    while (!state.stopping.signal.aborted && state.failure === undefined) {
      const bornAt = performance.now();
      const end = await liveOnce(state);
      tellGuard();
      if (state.stopping.signal.aborted) return;
      noteDeath(state, end);
      if (state.failure !== undefined) return;
      if (performance.now() - bornAt > healthyAfterMs) state.restarts = 0;
      const delayMs = Math.min(restartDelayMs.first * 2 ** state.restarts, restartDelayMs.cap);
      state.restarts += 1;
      if (state.wasReady) options.say?.(`${state.part.name} ended (${end}); starting it again`);
      // Rejects only when stopped, which the loop's condition sees.
      await sleep(delayMs, undefined, { signal: state.stopping.signal }).catch(() => undefined);
    }
  }

  /** One life of a part; gives back how it ended. */
  async function liveOnce(state: Running): Promise<string> {
    const { part } = state;
    const log = openLog(logPath(part.name));
    const child = spawn(part.command, part.args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...(part.env ?? process.env), ...options.env },
      cwd: part.cwd,
    });
    closeSync(log);
    state.child = child;
    tellGuard();
    const end = await new Promise<string>((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    state.child = undefined;
    // What it spawned holds its ports and files: the next life needs them free.
    killGroup(child.pid, 'SIGKILL');
    return end;
  }

  function noteDeath(state: Running, end: string): void {
    const now = performance.now();
    state.deaths = [...state.deaths.filter((at) => now - at < startupDeaths.withinMs), now];
    if (state.wasReady) return;
    if (end === `exit code ${exitConfig}`) state.failure = 'refused its configuration';
    else if (state.deaths.length >= startupDeaths.count)
      state.failure = `died ${startupDeaths.count} times (last: ${end})`;
  }

  async function waitUntilReady(state: Running): Promise<void> {
    const deadline = performance.now() + readyDeadlineMs;
    let last: unknown;
    for (;;) {
      if (state.stopping.signal.aborted) throw new PartFailed(`${state.part.name} was stopped`);
      if (state.failure !== undefined) throw await failed(state, state.failure);
      if (state.child !== undefined) {
        try {
          await withTimeout(state.part.ready());
          state.wasReady = true;
          return;
        } catch (error) {
          last = error;
        }
      }
      if (performance.now() > deadline)
        throw await failed(state, `is not ready after ${readyDeadlineMs / 1000} s (${String(last)})`);
      await sleep(readyPollMs);
    }
  }

  async function failed(state: Running, why: string): Promise<PartFailed> {
    const path = logPath(state.part.name);
    const tail = lastLines(await readFile(path, 'utf8').catch(() => ''), 15);
    return new PartFailed(`${state.part.name} ${why}. The end of ${path}:\n${tail}`);
  }

  async function stopOne(state: Running): Promise<void> {
    state.stopping.abort();
    const { child } = state;
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const patience = new AbortController();
      const kill = async () => {
        const until = performance.now() + graceMs;
        while (performance.now() < Math.min(until, hurryAt))
          await sleep(20, undefined, { signal: patience.signal });
        killGroup(child.pid, 'SIGKILL');
      };
      // Rejects when the part ended in time, which is the good case.
      void kill().catch(() => undefined);
      await state.done;
      patience.abort();
    }
    await state.done;
  }

  let hurryAt = Number.POSITIVE_INFINITY;
  const processes = () =>
    running.flatMap(({ part, child }) =>
      child?.pid === undefined ? [] : [{ name: part.name, pid: child.pid }],
    );
  const logPath = (name: string) => join(options.logDir, `${name}.log`);

  return {
    async start(part) {
      if (stopped !== undefined) throw new PartFailed(`${part.name} was stopped`);
      guard ??= startGuard({ ...process.env, ...options.env });
      const state: Running = {
        part,
        child: undefined,
        wasReady: false,
        deaths: [],
        restarts: 0,
        failure: undefined,
        stopping: new AbortController(),
        done: Promise.resolve(),
      };
      running.push(state);
      state.done = keepAlive(state);
      await waitUntilReady(state);
    },
    stop() {
      stopped ??= (async () => {
        for (const state of running.toReversed()) await stopOne(state);
        await guard?.end();
      })();
      return stopped;
    },
    hurry() {
      graceMs = 0;
      hurryAt = 0;
    },
    processes,
  };
}
