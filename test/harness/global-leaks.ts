/** The last check of a run: whatever the tests and the shared parts started is gone. */
import { randomUUID } from 'node:crypto';
import { findMarked } from '../../bin/stack/marked-processes.ts';
import { requireNoneLeft } from './leaks.ts';

const mark = 'BOARDWALK_TEST_RUN';

export function setup(): () => Promise<void> {
  const run = randomUUID();
  process.env[mark] = run;
  // Vitest's own workers end after this.
  const isOurs = (command: string) => !command.includes('vitest');
  return () => requireNoneLeft(() => findMarked(mark, run).filter(({ command }) => isOurs(command)), 5_000);
}
