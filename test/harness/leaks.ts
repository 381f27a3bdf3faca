/**
 * Finds processes that tests left behind. A mark in the environment is inherited by everything that
 * a test starts, however deep, so nothing has to be registered.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface FoundProcess {
  pid: number;
  command: string;
}

/** Processes of this user whose environment holds `name=value`. */
export function findMarked(name: string, value: string): FoundProcess[] {
  const mark = `${name}=${value}`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((entry) => {
      const environment = readProc(entry, 'environ').split('\0');
      const command = readProc(entry, 'cmdline').replaceAll('\0', ' ').trim();
      return environment.includes(mark) && command !== '' ? [{ pid: Number(entry), command }] : [];
    });
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // Ended meanwhile, or another user's.
    return '';
  }
}

/** Throws when marked processes are still there after `patienceMs`; ends them first. */
export async function requireNoneLeft(find: () => FoundProcess[], patienceMs: number): Promise<void> {
  const deadline = performance.now() + patienceMs;
  let left = find();
  while (left.length > 0 && performance.now() < deadline) {
    await sleep(50);
    left = find();
  }
  if (left.length === 0) return;
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself at the last moment; it is reported all the same.
    }
  }
  const list = left.map(({ pid, command }) => `  ${pid} ${command.slice(0, 160)}`).join('\n');
  throw new Error(`the tests left processes behind:\n${list}`);
}
