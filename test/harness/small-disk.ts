/**
 * A disk that can be full: a small tmpfs that only the processes of one mount namespace see. It is
 * gone with the process that holds the namespace, and that one with the test, however it ends.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  /** Its path for those who are inside. */
  dir: string;
  /** The same for this process, which is outside: not for SQLite, which would resolve it. */
  outside: string;
  /** Puts a command inside: what `spawn` takes. */
  inside(command: string, args: readonly string[]): [string, string[]];
  /** Takes all the room but so many bytes. */
  fill(leftBytes?: number): void;
  /** Gives back what `fill` took. */
  free(): void;
  stop(): Promise<void>;
}

/** In words; undefined when a disk can be had. */
export function findWhyNoDisk(): string | undefined {
  const { status, stderr, error } = spawnSync('unshare', ['--mount', 'true'], { encoding: 'utf8' });
  if (status === 0) return undefined;
  return `a small disk cannot be mounted here (root may): ${error?.message ?? stderr.trim()}`;
}

export async function mountSmallDisk(megabytes: number): Promise<SmallDisk> {
  const dir = mkdtempSync(join(tmpdir(), 'boardwalk-disk-'));
  const script = `mount -t tmpfs -o size=${megabytes}m,mode=700 tmpfs "$0" && echo mounted && cat > /dev/null`;
  const holder = spawn('unshare', ['--mount', 'sh', '-c', script, dir], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(holder, 'exit');
  await Promise.race([once(holder.stdout, 'data'), ended]);
  if (holder.exitCode !== null) {
    rmdirSync(dir);
    throw new Error('the disk was not mounted');
  }
  const outside = `/proc/${holder.pid}/root${dir}`;
  const ballast = join(outside, 'ballast');
  return {
    dir,
    outside,
    inside: (command, args) => ['nsenter', ['--target', String(holder.pid), '--mount', command, ...args]],
    fill(leftBytes = 0) {
      const file = openSync(ballast, 'a');
      try {
        const { bavail, bsize } = statfsSync(outside);
        for (let left = bavail * bsize - leftBytes; left > 0; )
          left -= writeSync(file, Buffer.alloc(Math.min(left, 65_536)));
      } catch (error) {
        // Somebody else has taken the last of it.
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(ballast, { force: true }),
    async stop() {
      holder.stdin.end();
      await ended;
      rmdirSync(dir);
    },
  };
}
