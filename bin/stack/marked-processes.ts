/**
 * Finds processes by a mark in their environment. It is inherited by everything that a marked
 * process starts, however deep, so nothing has to be registered and no process id can be mistaken.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface FoundProcess {
  pid: number;
  command: string;
}

/** Processes of this user whose environment was started with `name=value`; never this one. */
export function findMarked(name: string, value: string): FoundProcess[] {
  const mark = `${name}=${value}`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((entry) => {
      if (!readProc(entry, 'environ').split('\0').includes(mark)) return [];
      const command = readProc(entry, 'cmdline').replaceAll('\0', ' ').trim();
      return command === '' ? [] : [{ pid: Number(entry), command }];
    });
}

/** Waits until `find` finds nothing; gives back what is left after `patienceMs`. */
export async function waitUntilGone(find: () => FoundProcess[], patienceMs: number): Promise<FoundProcess[]> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const left = find();
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(50);
  }
}

export function signalAll(processes: readonly FoundProcess[], signal: NodeJS.Signals): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      // Ended by itself meanwhile: that is what was wanted.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** When a process started, in clock ticks since boot: with the pid it names one process for good. */
export function processStartTime(pid: number): string | undefined {
  // proc_pid_stat(5): the fields after the name in brackets begin with the third one.
  return readProc(String(pid), 'stat').split(') ').at(-1)?.split(' ')[19];
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // Ended meanwhile, or another user's.
    return '';
  }
}
