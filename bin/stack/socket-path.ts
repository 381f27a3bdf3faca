import { createHash } from 'node:crypto';
import { lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** unix(7): sun_path holds 108 bytes, the last one a zero. */
const longestPath = 107;

/**
 * Where a Unix socket of `dir` goes: into it, or, when that path would be too long for a socket, into
 * a folder of our own below the system's temporary one.
 */
export async function socketPath(dir: string, name: string): Promise<string> {
  const path = join(dir, name);
  if (Buffer.byteLength(path) <= longestPath) return path;
  const digest = createHash('sha256').update(dir).digest('hex').slice(0, 16);
  const short = join(tmpdir(), `boardwalk-${digest}`);
  await mkdir(short, { recursive: true, mode: 0o700 });
  const info = await lstat(short);
  if (!info.isDirectory() || info.uid !== process.getuid?.() || (info.mode & 0o077) !== 0)
    throw new Error(`${short} must be a folder that only this user can use`);
  return join(short, name);
}
