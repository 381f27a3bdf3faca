import { relative } from 'node:path';

/** Says before a long step what is being done, and after it how long it took. */
export type Say = (line: string) => void;

/** What set-up can't do without; the message is one sentence for the person at the terminal. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}

export async function withProgress<T>(
  say: Say,
  doing: string,
  done: string,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  say(`${doing} …`);
  const result = await work();
  say(`${done} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
  return result;
}

/** A path as a person here would type it. */
export function shownPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' || short.startsWith('..') ? path : short;
}
