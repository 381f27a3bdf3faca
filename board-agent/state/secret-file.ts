/** Files that hold a password, token or key: only their owner may read them. */
import { readFileSync, statSync } from 'node:fs';

/** What the file holds, without a line feed at the end. Throws Error in words that hold nothing of it. */
export function readSecretFile(path: string): Buffer {
  const { mode } = statSync(path);
  if ((mode & 0o077) !== 0)
    throw new Error(`others may read it (mode ${(mode & 0o777).toString(8)}, wanted 600)`);
  return withoutLineFeed(readFileSync(path));
}

function withoutLineFeed(content: Buffer): Buffer {
  if (content.at(-1) !== 0x0a) return content;
  return content.subarray(0, content.at(-2) === 0x0d ? -2 : -1);
}
