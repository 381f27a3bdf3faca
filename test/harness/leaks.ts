import { type FoundProcess, signalAll, waitUntilGone } from '../../bin/stack/marked-processes.ts';

/** Throws when processes are still there after `patienceMs`; ends them first. */
export async function requireNoneLeft(find: () => FoundProcess[], patienceMs: number): Promise<void> {
  const left = await waitUntilGone(find, patienceMs);
  if (left.length === 0) return;
  signalAll(left, 'SIGKILL');
  const list = left.map(({ pid, command }) => `  ${pid} ${command.slice(0, 160)}`).join('\n');
  throw new Error(`the tests left processes behind:\n${list}`);
}
